// A report as data: what it says, in order. html.h and markdown.h turn it into text. Every string
// may hold any bytes; it is shown as text, never understood as markup.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "study/document/chart.h"

namespace syncbn::study::document {

enum class Align { kLeft, kRight };  // words, figures

struct Column {
  std::string title;
  Align align = Align::kLeft;
};

enum class RowState { kPlain, kFlagged, kDiverged };

struct Row {
  std::vector<std::string> cells;  // as many as the table has columns; the first names the row
  RowState state = RowState::kPlain;
  std::string note;  // why it is flagged, how it diverged
};

struct Table {
  std::string caption;
  std::vector<Column> columns;
  std::vector<Row> rows;
};

enum class Outcome { kNone, kSupported, kRefuted, kInconclusive };

// A measured figure of a verdict, and what it was held against.
struct Figure {
  std::string name;
  std::string unit;
  double value = 0;
  std::optional<Interval> interval;
  std::vector<double> thresholds;  // of the rule; both ends of an equivalence margin
  std::string note;                // "5 paired seeds"
};

struct Verdict {
  std::string claim;
  Outcome outcome = Outcome::kNone;
  std::string rule;  // written before the runs
  std::vector<Figure> figures;
  std::string scale;  // "a 9-layer VGG on 10,000 images of CIFAR-10, 6 epochs"
  std::string interval_kind = "95 % interval";
};

// To another document that lies on the same disk, as a page and as text: each form leads to its
// own.
struct Link {
  std::string words;   // what it is
  std::string target;  // path of the other without .html or .md, from the folder of this one
};

// A string is a paragraph.
using Block = std::variant<std::string, Table, Verdict, Chart, Link>;

struct Section {
  std::string heading;
  std::vector<Block> blocks;
};

struct Document {
  std::string title;
  std::vector<std::string> subtitle;  // lines: machine, date, program
  std::vector<std::string> answer;    // up to three sentences, read before all else
  std::vector<Section> sections;
};

// "supported", "refuted", "inconclusive", "no verdict"
const char* OutcomeWord(Outcome outcome);
// "", "flagged", "diverged"
const char* RowStateWord(RowState state);

}  // namespace syncbn::study::document
