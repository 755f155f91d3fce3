#include "study/document/html.h"

#include <cctype>

#include "study/document/drawing.h"
#include "study/document/interval_mark.h"
#include "study/document/markup.h"
#include "study/document/number_text.h"
#include "study/document/svg.h"
#include "study/document/text_files.h"
#include "study/document/text_layout.h"

namespace syncbn::study::document {
namespace {

// Tables that are wider than the text, by estimate, may take more of the page.
constexpr double kTextWidth = 720;
constexpr double kCellPadding = 20;
// From so many sections on, a list of them comes first.
constexpr size_t kContentsFrom = 4;

std::string Element(const std::string& tag, const std::string& text) {
  const std::string name = tag.substr(0, tag.find(' '));
  return "<" + tag + ">" + Escaped(text) + "</" + name + ">\n";
}

// The name of a measure, which may be long and without a blank ("correlation.bn1.off_diagonal"): a
// line ends after one of its points or underscores before it does within a word.
std::string Name(const std::string& text) {
  const std::string escaped = Escaped(text);
  std::string name;
  for (size_t i = 0; i < escaped.size(); ++i) {
    name += escaped[i];
    const bool joint = escaped[i] == '.' || escaped[i] == '_';
    const auto next = static_cast<unsigned char>(i + 1 < escaped.size() ? escaped[i + 1] : ' ');
    if (joint && (std::isalpha(next) != 0 || next == '*')) name += "<wbr>";
  }
  return name;
}

class HtmlWriter {
 public:
  std::string Write(const Document& document);

 private:
  void Header(const Document& document);
  void Contents(const Document& document);
  void Write(const std::string& paragraph) { html_ += Element("p", paragraph); }
  void Write(const Table& table);
  void Write(const Verdict& verdict);
  void Write(const Chart& chart);
  void Write(const Link& link);

  std::string html_;
  int tables_ = 0, charts_ = 0;
};

void HtmlWriter::Header(const Document& document) {
  html_ += "<header>\n" + Element("h1", document.title);
  if (!document.subtitle.empty()) {
    html_ += "<ul class=\"meta\">\n";
    for (const std::string& line : document.subtitle) html_ += Element("li", line);
    html_ += "</ul>\n";
  }
  html_ += "</header>\n";
  if (document.answer.empty()) return;
  html_ += "<section class=\"answer\" aria-label=\"The answer\">\n";
  for (const std::string& sentence : document.answer) html_ += Element("p", sentence);
  html_ += "</section>\n";
}

void HtmlWriter::Contents(const Document& document) {
  if (document.sections.size() < kContentsFrom) return;
  html_ += "<nav aria-label=\"Sections\"><ol>\n";
  for (size_t i = 0; i < document.sections.size(); ++i) {
    html_ += "<li><a href=\"#section-" + std::to_string(i + 1) + "\">" +
             Escaped(document.sections[i].heading) + "</a></li>\n";
  }
  html_ += "</ol></nav>\n";
}

double EstimatedWidth(const Table& table) {
  double width = 0;
  for (size_t c = 0; c < table.columns.size(); ++c) {
    double widest = TextWidth(table.columns[c].title, 13);
    for (const Row& row : table.rows) {
      if (c < row.cells.size()) widest = std::max(widest, TextWidth(row.cells[c], 13));
    }
    width += widest + kCellPadding;
  }
  return width;
}

void HtmlWriter::Write(const Table& table) {
  const std::string name = "Table " + std::to_string(++tables_);
  html_ += std::string("<div class=\"scroll") +
           (EstimatedWidth(table) > kTextWidth ? " broad" : "") +
           "\" tabindex=\"0\" role=\"region\" aria-label=\"" +
           Escaped(name + ": " + table.caption) + "\">\n<table>\n" + "<caption><b>" + name +
           ".</b> " + Escaped(table.caption) + "</caption>\n<thead><tr>";
  const auto align = [&](size_t column) {
    return column < table.columns.size() && table.columns[column].align == Align::kRight
               ? " class=\"figure\""
               : "";
  };
  for (size_t c = 0; c < table.columns.size(); ++c) {
    html_ += std::string("<th scope=\"col\"") + align(c) + ">" + Escaped(table.columns[c].title) +
             "</th>";
  }
  html_ += "</tr></thead>\n<tbody>\n";
  for (const Row& row : table.rows) {
    const std::string state = RowStateWord(row.state);
    html_ += state.empty() ? "<tr>" : "<tr class=\"" + state + "\">";
    for (size_t c = 0; c < row.cells.size(); ++c) {
      const std::string tag = c == 0 ? "th" : "td";
      html_ +=
          "<" + tag + (c == 0 ? " scope=\"row\"" : "") + align(c) + ">" + Escaped(row.cells[c]);
      if (c == 0 && !state.empty()) {
        html_ += " <span class=\"state\"><b>" + state + "</b>" +
                 (row.note.empty() ? "" : " <span>" + Escaped(row.note) + "</span>") + "</span>";
      }
      html_ += "</" + tag + ">";
    }
    html_ += "</tr>\n";
  }
  html_ += "</tbody>\n</table>\n</div>\n";
  if (table.rows.empty()) html_ += Element("p class=\"quiet\"", "No rows.");
}

void HtmlWriter::Write(const Verdict& verdict) {
  const std::string outcome = OutcomeWord(verdict.outcome);
  const std::string name = verdict.outcome == Outcome::kNone ? "none" : outcome;
  html_ += "<article class=\"verdict " + name + "\">\n<p class=\"outcome\">" + outcome + "</p>\n" +
           Element("h3", verdict.claim) + "<dl>\n";
  for (const Figure& figure : verdict.figures) {
    html_ += "<dt>" + Name(figure.name) + "</dt>\n";
    html_ += "<dd><span class=\"value\">" +
             Escaped(IntervalText(figure.value, figure.interval, figure.unit)) + "</span>";
    std::string more = figure.interval ? verdict.interval_kind : "";
    if (!figure.note.empty()) more += (more.empty() ? "" : ", ") + figure.note;
    if (!more.empty()) html_ += " <span class=\"quiet\">" + Escaped(more) + "</span>";
    html_ += IntervalMark(figure) + "</dd>\n";
  }
  if (!verdict.rule.empty()) html_ += "<dt>Rule</dt>" + Element("dd", verdict.rule);
  if (!verdict.scale.empty()) html_ += "<dt>Holds for</dt>" + Element("dd", verdict.scale);
  html_ += "</dl>\n</article>\n";
}

void HtmlWriter::Write(const Chart& chart) {
  const std::string id = std::to_string(++charts_);
  html_ += "<figure id=\"figure-" + id + "\">\n<figcaption><b>Figure " + id + ".</b> " +
           Escaped(chart.title) + "</figcaption>\n<div class=\"wide\">" + Svg(chart, kWide) +
           "</div>\n<div class=\"narrow\">" + Svg(chart, kNarrow) + "</div>\n";
  if (!chart.caption.empty()) html_ += Element("p class=\"quiet\"", chart.caption);
  html_ += "</figure>\n";
}

void HtmlWriter::Write(const Link& link) {
  const std::string target = link.target + ".html";
  html_ += "<p>" + Escaped(link.words) + ": <a href=\"" + AddressOf(target) + "\">" +
           Escaped(target) + "</a></p>\n";
}

std::string HtmlWriter::Write(const Document& document) {
  html_ =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
      "style-src "
      "'unsafe-inline'; script-src 'unsafe-inline'\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n" +
      Element("title", document.title) + "<style>" + PageStyleText() +
      "</style>\n</head>\n<body>\n<main>\n";
  Header(document);
  Contents(document);
  for (size_t i = 0; i < document.sections.size(); ++i) {
    const Section& section = document.sections[i];
    html_ +=
        "<section id=\"section-" + std::to_string(i + 1) + "\">\n" + Element("h2", section.heading);
    for (const Block& block : section.blocks) {
      std::visit([this](const auto& content) { Write(content); }, block);
    }
    html_ += "</section>\n";
  }
  html_ += "</main>\n<div id=\"tip\" aria-hidden=\"true\" hidden></div>\n<script>" +
           PageScriptText() + "</script>\n</body>\n</html>\n";
  return std::move(html_);
}

}  // namespace

const std::string& PageStyleText() {
  static const std::string text =
      "\n" + std::string(ChartStyle()) + HeatStyle() + std::string(PageStyle());
  return text;
}

const std::string& PageScriptText() {
  static const std::string text = "\n" + std::string(PageScript());
  return text;
}

std::string Html(const Document& document) {
  return HtmlWriter().Write(document);
}

}  // namespace syncbn::study::document
