#include "study/document/drawing.h"

#include <algorithm>

#include "base/text.h"
#include "study/document/markup.h"
#include "study/document/text_layout.h"

namespace syncbn::study::document {
namespace {

constexpr size_t kMostRuns = 12;

}  // namespace

Drawing DrawNothing(const std::string& what, double width) {
  Drawing drawing;
  drawing.height = 96;
  drawing.body = RectElement(0.5, 0.5, width - 1, drawing.height - 1, "nothing");
  const std::vector<std::string> lines = WrappedText("Nothing to show: " + what, width - 32, 3);
  double y = drawing.height / 2 + 4 - 8 * static_cast<double>(lines.size() - 1);
  for (const std::string& line : lines) {
    drawing.body += TextElement(width / 2, y, "quiet", Anchor::kMiddle, line);
    y += 16;
  }
  drawing.description = "Nothing to show: " + what;
  return drawing;
}

std::string MarkStart(const std::string& classes, const std::string& attributes,
                      const std::vector<std::string>& lines) {
  return "<g class=\"" + classes + "\" role=\"img\" tabindex=\"-1\" aria-label=\"" +
         EscapedLines(lines) + "\"" + (attributes.empty() ? "" : " " + attributes) + ">";
}

std::vector<std::string> EvidenceLines(const Evidence& evidence) {
  std::vector<std::string> lines;
  if (evidence.seeds > 0) lines.push_back(Plural(evidence.seeds, "seed"));
  if (!evidence.runs.empty()) {
    const size_t shown = std::min(evidence.runs.size(), kMostRuns);
    std::string text = evidence.runs.size() == 1 ? "run: " : "runs: ";
    text += Join(std::span(evidence.runs).first(shown), ", ");
    if (shown < evidence.runs.size())
      text += " and " + std::to_string(evidence.runs.size() - shown) + " more";
    lines.push_back(text);
  }
  if (!evidence.note.empty()) lines.push_back(evidence.note);
  return lines;
}

}  // namespace syncbn::study::document
