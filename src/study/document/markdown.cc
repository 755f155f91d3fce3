#include "study/document/markdown.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "base/printable.h"
#include "base/text.h"
#include "study/document/interval_mark.h"
#include "study/document/markup.h"
#include "study/document/number_text.h"
#include "study/document/text_layout.h"

namespace syncbn::study::document {
namespace {

// Of a series; one with up to twice as many is complete.
constexpr size_t kMostPoints = 15;
// Of a line of words, in characters; rows of tables are as long as they are.
constexpr size_t kWidth = 100;

struct Lines {
  std::vector<std::string> header;
  std::vector<Align> align;
  std::vector<std::vector<std::string>> rows;
};

std::string Padded(const std::string& text, size_t width, Align align) {
  const std::string blanks(width - std::min(width, CharacterCount(text)), ' ');
  return align == Align::kRight ? blanks + text : text + blanks;
}

// Cells are escaped here. Columns that are empty in all rows are left out.
std::string TableText(const Lines& table) {
  std::vector<size_t> columns, widths;
  for (size_t c = 0; c < table.header.size(); ++c) {
    size_t width = std::max<size_t>(3, CharacterCount(MarkdownText(table.header[c])));
    bool used = table.rows.empty();
    for (const auto& row : table.rows) {
      const std::string cell = c < row.size() ? MarkdownText(row[c]) : "";
      used |= !cell.empty();
      width = std::max(width, CharacterCount(cell));
    }
    if (!used) continue;
    columns.push_back(c);
    widths.push_back(width);
  }
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text = "|";
    for (size_t i = 0; i < columns.size(); ++i) {
      const size_t c = columns[i];
      text += " " +
              Padded(c < cells.size() ? MarkdownText(cells[c]) : "", widths[i], table.align[c]) +
              " |";
    }
    return text + "\n";
  };
  std::string text = line(table.header) + "|";
  for (size_t i = 0; i < columns.size(); ++i) {
    const bool right = table.align[columns[i]] == Align::kRight;
    text += " " + std::string(widths[i] - (right ? 1 : 0), '-') + (right ? ":" : "") + " |";
  }
  text += "\n";
  for (const auto& row : table.rows) text += line(row);
  return text + "\n";
}

std::string SeedsText(const Evidence& evidence) {
  return evidence.seeds > 0 ? std::to_string(evidence.seeds) : "";
}

std::string ValueText(const std::optional<double>& value, const std::optional<Interval>& interval,
                      const std::string& lost) {
  if (!value) return "not measured";
  return std::isfinite(*value) ? IntervalText(*value, interval) : lost;
}

std::string ValueHeader(const std::string& label, const std::string& interval_kind,
                        bool has_intervals) {
  return has_intervals ? label + " (" + interval_kind + ")" : label;
}

std::string Joined(const std::string& a, const std::string& b) {
  return a.empty() || b.empty() ? a + b : a + ", " + b;
}

std::string PointsText(const LineChart& chart, const std::string& interval_kind) {
  bool intervals = false;
  for (const Series& series : chart.series) {
    for (const Point& point : series.points) intervals |= point.interval.has_value();
  }
  Lines table{
      {"series", LabelText(chart.x), ValueHeader(LabelText(chart.y), interval_kind, intervals),
       "seeds", "runs", "note"},
      {Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kLeft, Align::kLeft},
      {}};
  bool left_out = false;
  for (const Series& series : chart.series) {
    const size_t every = std::max<size_t>(1, series.points.size() / kMostPoints);
    left_out |= every > 1;
    for (size_t i = 0; i < series.points.size(); ++i) {
      if (i % every != 0 && i + 1 != series.points.size() && series.optimum != i) continue;
      const Point& point = series.points[i];
      const std::string best = series.optimum == i ? "best of its series" : "";
      table.rows.push_back({series.name, AxisValueText(chart.x, point.x),
                            ValueText(point.y, point.interval, point.lost),
                            SeedsText(point.evidence), Join(point.evidence.runs, ", "),
                            Joined(best, point.evidence.note)});
    }
  }
  if (table.rows.empty()) return "Nothing to show: there are no points.\n\n";
  std::string text = TableText(table);
  if (left_out) text += "Series of many points are shown with every few of them.\n\n";
  for (const ReferenceLine& line : chart.references) {
    const Axis& axis = line.at == ReferenceLine::At::kX ? chart.x : chart.y;
    text += "- " +
            MarkdownText(line.label + ": " + axis.label + " " +
                         WithUnit(AxisValueText(axis, line.value), axis.unit)) +
            "\n";
  }
  return chart.references.empty() ? text : text + "\n";
}

std::string PointsText(const ShareChart& chart, const std::string&) {
  if (chart.bars.empty() || chart.parts.empty()) return "Nothing to show: there are no bars.\n\n";
  Lines table{{chart.label}, {Align::kLeft}, {}};
  for (const std::string& part : chart.parts) {
    table.header.push_back(part);
    table.align.push_back(Align::kRight);
  }
  for (const char* name : {"all", "seeds", "runs", "note"}) table.header.push_back(name);
  for (const Align align : {Align::kRight, Align::kRight, Align::kLeft, Align::kLeft})
    table.align.push_back(align);
  for (const Bar& bar : chart.bars) {
    std::vector<std::string> row = {bar.name};
    double total = 0;
    for (const double value : bar.values) total += std::isfinite(value) && value > 0 ? value : 0;
    for (const double value : bar.values) {
      row.push_back(WithUnit(NumberText(value), chart.unit) +
                    (total > 0 && std::isfinite(value)
                         ? " (" + FixedText(100 * value / total, 0) + " %)"
                         : ""));
    }
    row.push_back(WithUnit(NumberText(total), chart.unit));
    for (const std::string& text :
         {SeedsText(bar.evidence), Join(bar.evidence.runs, ", "), bar.evidence.note}) {
      row.push_back(text);
    }
    table.rows.push_back(row);
  }
  return TableText(table);
}

// The map itself; what is behind its cells would be as long again for each.
std::string PointsText(const HeatMap& chart, const std::string& interval_kind) {
  if (chart.cells.empty()) return "Nothing to show: there are no cells.\n\n";
  Lines table{{chart.y.label + " / " + chart.x.label}, {Align::kLeft}, {}};
  bool intervals = false;
  for (const std::string& name : chart.x.categories) {
    table.header.push_back(name);
    table.align.push_back(Align::kRight);
  }
  for (size_t y = 0; y < chart.y.categories.size(); ++y) {
    std::vector<std::string> row = {chart.y.categories[y]};
    for (size_t x = 0; x < chart.x.categories.size(); ++x) {
      const size_t index = y * chart.x.categories.size() + x;
      if (index >= chart.cells.size()) break;
      const Cell& cell = chart.cells[index];
      intervals |= cell.interval.has_value();
      std::string text = ValueText(cell.value, cell.interval, cell.lost);
      if (cell.evidence.seeds > 0) text += ", n = " + std::to_string(cell.evidence.seeds);
      if (chart.optimum && chart.optimum->x == x && chart.optimum->y == y) text += ", best";
      row.push_back(text);
    }
    table.rows.push_back(row);
  }
  return MarkdownText(ValueHeader(LabelText(chart.value), interval_kind, intervals)) + ":\n\n" +
         TableText(table);
}

// Whether a word at the beginning of a line begins no list, heading or other block there.
bool MayBeginALine(std::string_view word) {
  const auto first = static_cast<unsigned char>(word.front());
  const size_t digits = word.find_first_not_of("0123456789");
  const bool numbers = digits + 1 == word.size() && (word.back() == '.' || word.back() == ')');
  return std::isalpha(first) || first >= 0x80 || first == '(' || first == '\\' ||
         (std::isdigit(first) && !numbers);
}

// Words of Markdown in lines of at most kWidth, as far as they can be broken; those behind the
// first begin with so many blanks, as in an item of a list.
std::string Broken(std::string_view text, size_t indent = 0) {
  std::vector<std::string> words;  // each with those behind it that may begin no line
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (word.empty()) continue;
    if (words.empty() || MayBeginALine(word)) {
      words.emplace_back(word);
    } else {
      words.back() += " " + std::string(word);
    }
  }
  std::string result;
  size_t columns = 0;
  for (const std::string& word : words) {
    const size_t width = CharacterCount(word);
    if (columns > 0 && columns + 1 + width > kWidth) {
      result += "\n" + std::string(indent, ' ');
      columns = indent;
    } else if (columns > 0) {
      result += ' ';
      ++columns;
    }
    result += word;
    columns += width;
  }
  return result;
}

std::string Item(const std::string& text) {
  return Broken("- " + MarkdownText(text), 2) + "\n";
}

class MarkdownWriter {
 public:
  explicit MarkdownWriter(const std::string& pictures) : pictures_(pictures) {}
  std::string Write(const Document& document);

 private:
  void Write(const std::string& paragraph) { text_ += Broken(MarkdownText(paragraph)) + "\n\n"; }
  void Write(const Table& table);
  void Write(const Verdict& verdict);
  void Write(const Chart& chart);
  void Write(const Link& link) {
    const std::string target = link.target + ".md";
    text_ += MarkdownText(link.words) + ": [" + MarkdownText(target) + "](" + AddressOf(target) +
             ")\n\n";
  }

  const std::string& pictures_;
  std::string text_;
  int tables_ = 0, charts_ = 0;
};

void MarkdownWriter::Write(const Table& table) {
  text_ += "**Table " + std::to_string(++tables_) + ".** " + MarkdownText(table.caption) + "\n\n";
  Lines lines;
  for (const Column& column : table.columns) {
    lines.header.push_back(column.title);
    lines.align.push_back(column.align);
  }
  lines.header.push_back("state");
  lines.align.push_back(Align::kLeft);
  for (const Row& row : table.rows) {
    std::vector<std::string> cells = row.cells;
    cells.resize(table.columns.size());
    const std::string state = RowStateWord(row.state);
    cells.push_back(state.empty() || row.note.empty() ? state : state + ": " + row.note);
    lines.rows.push_back(cells);
  }
  text_ += lines.rows.empty() ? "No rows.\n\n" : TableText(lines);
}

void MarkdownWriter::Write(const Verdict& verdict) {
  std::string outcome = OutcomeWord(verdict.outcome);
  outcome.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(outcome.front())));
  text_ += Broken("**" + outcome + "**: " + MarkdownText(verdict.claim)) + "\n\n";
  for (const Figure& figure : verdict.figures) {
    std::string more = figure.interval ? verdict.interval_kind : "";
    more = Joined(more, ThresholdsText(figure));
    more = Joined(more, figure.note);
    text_ += Item(figure.name + ": " + IntervalText(figure.value, figure.interval, figure.unit) +
                  (more.empty() ? "" : "; " + more));
  }
  if (!verdict.rule.empty()) text_ += Item("Rule: " + verdict.rule);
  if (!verdict.scale.empty()) text_ += Item("Holds for: " + verdict.scale);
  if (!verdict.figures.empty() || !verdict.rule.empty() || !verdict.scale.empty()) text_ += "\n";
}

void MarkdownWriter::Write(const Chart& chart) {
  text_ += "**Figure " + std::to_string(++charts_) + ".** " + MarkdownText(chart.title) + "\n\n";
  if (!pictures_.empty()) {
    text_ +=
        "![" + MarkdownText(chart.title) + "](" + pictures_ + "/" + PictureName(charts_) + ")\n\n";
  }
  text_ += std::visit([&](const auto& plot) { return PointsText(plot, chart.interval_kind); },
                      chart.plot);
  if (!chart.caption.empty()) Write(chart.caption);
}

std::string MarkdownWriter::Write(const Document& document) {
  text_ = "# " + MarkdownText(document.title) + "\n\n";
  for (const std::string& line : document.subtitle) text_ += Item(line);
  if (!document.subtitle.empty()) text_ += "\n";
  for (const std::string& sentence : document.answer) {
    text_ += Broken(MarkdownText(sentence)) + "\n";
  }
  if (!document.answer.empty()) text_ += "\n";
  for (const Section& section : document.sections) {
    text_ += "## " + MarkdownText(section.heading) + "\n\n";
    for (const Block& block : section.blocks) {
      std::visit([this](const auto& content) { Write(content); }, block);
    }
  }
  text_.pop_back();
  return std::move(text_);
}

}  // namespace

std::string Markdown(const Document& document, const std::string& pictures) {
  return MarkdownWriter(pictures).Write(document);
}

std::string PictureName(int number) {
  return "figure-" + std::to_string(number) + ".svg";
}

std::string MarkdownText(std::string_view text) {
  const std::string line = OneLine(text);
  const auto at = [&](size_t i) { return i < line.size() ? line[i] : ' '; };
  const auto is_word = [&](size_t i) {
    return std::isalnum(static_cast<unsigned char>(at(i))) || (at(i) & 0x80) != 0;
  };
  std::string escaped;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    bool escape = std::string_view("\\`*<[]|$").find(c) != std::string_view::npos;
    // Where they mean nothing they stay as they are: batch_per_replica, R & D, ~5 s.
    if (c == '_') escape = !(i > 0 && is_word(i - 1) && is_word(i + 1));
    if (c == '~') escape = at(i + 1) == '~' || (i > 0 && line[i - 1] == '~');
    if (c == '&') escape = std::isalpha(static_cast<unsigned char>(at(i + 1))) || at(i + 1) == '#';
    if (i == 0)
      escape |=
          c == '#' || c == '>' ||
          ((c == '-' || c == '+' || c == '=') && !std::isdigit(static_cast<unsigned char>(at(1))));
    // "1." at the beginning would be a list.
    if ((c == '.' || c == ')') && i > 0 && at(i + 1) == ' ') {
      escape |= std::all_of(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(i),
                            [](unsigned char digit) { return std::isdigit(digit); });
    }
    if (escape) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

}  // namespace syncbn::study::document
