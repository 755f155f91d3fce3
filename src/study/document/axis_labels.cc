#include "study/document/axis_labels.h"

#include <algorithm>
#include <cmath>

#include "study/document/markup.h"
#include "study/document/text_layout.h"

namespace syncbn::study::document {
namespace {

constexpr double kLine = 15;
constexpr double kGap = 10;
constexpr double kTickMark = 5;
constexpr double kUprightLength = 110;
constexpr double kUprightApart = 20;
constexpr double kNarrowestWrapped = 36;

double Centre(double at, double text_width, double width) {
  return std::clamp(at, text_width / 2, std::max(text_width / 2, width - text_width / 2));
}

bool Overlap(const std::vector<Tick>& ticks, const Scale& scale, double width) {
  double end = -kGap;
  for (const Tick& tick : ticks) {
    if (tick.label.empty()) continue;
    const double text_width = TextWidth(tick.label);
    const double centre = Centre(*scale.At(tick.value), text_width, width);
    if (centre - text_width / 2 < end + kGap) return true;
    end = centre + text_width / 2;
  }
  return false;
}

}  // namespace

AxisLabels TickLabelsBelow(const Scale& scale, double y, double width) {
  AxisLabels labels;
  for (int most = 12; most >= 1; --most) {
    labels.ticks = scale.Ticks(most);
    if (!Overlap(labels.ticks, scale, width)) break;
  }
  for (const Tick& tick : labels.ticks) {
    const double x = *scale.At(tick.value);
    labels.svg +=
        LineElement(x, y, x, y + (tick.label.empty() ? kTickMark - 2 : kTickMark), "tick");
    if (tick.label.empty()) continue;
    labels.svg += TextElement(Centre(x, TextWidth(tick.label), width), y + kTickMark + 13, "figure",
                              Anchor::kMiddle, tick.label);
  }
  labels.height = kTickMark + 17;
  return labels;
}

AxisLabels CategoryLabelsBelow(const std::vector<std::string>& categories, double left, double slot,
                               double y) {
  AxisLabels labels;
  size_t most_lines = 1;
  if (slot >= kNarrowestWrapped) {
    for (size_t i = 0; i < categories.size(); ++i) {
      const std::vector<std::string> lines = WrappedText(categories[i], slot - 6, 3);
      most_lines = std::max(most_lines, lines.size());
      for (size_t k = 0; k < lines.size(); ++k) {
        labels.svg += TextElement(left + (static_cast<double>(i) + 0.5) * slot,
                                  y + 16 + kLine * static_cast<double>(k), "figure",
                                  Anchor::kMiddle, lines[k]);
      }
    }
    labels.height = 5 + kLine * static_cast<double>(most_lines);
    return labels;
  }
  double longest = 0;
  std::vector<std::string> texts;
  for (const std::string& category : categories) {
    texts.push_back(WrappedText(category, kUprightLength, 1).front());
    longest = std::max(longest, TextWidth(texts.back()));
  }
  // Short ones stay level where they have room.
  const bool level = longest <= slot - 4;
  const size_t every =
      level ? 1 : static_cast<size_t>(std::max(1.0, std::ceil(kUprightApart / slot)));
  for (size_t i = 0; i < texts.size(); i += every) {
    const double x = left + (static_cast<double>(i) + 0.5) * slot;
    if (level) {
      labels.svg += TextElement(x, y + 16, "figure", Anchor::kMiddle, texts[i]);
    } else {
      const double right = left + slot * static_cast<double>(texts.size());
      labels.svg += "<g transform=\"translate(" + Px(std::min(x, right - 8) + 4) + " " + Px(y + 6) +
                    ") rotate(-90)\">" + TextElement(0, 0, "figure", Anchor::kEnd, texts[i]) +
                    "</g>";
    }
  }
  labels.height = level ? 20 : longest + 10;
  return labels;
}

AxisLabels AxisTitleBelow(const std::string& text, double left, double right, double y) {
  AxisLabels title;
  if (text.empty()) return title;
  for (const std::string& line : WrappedText(text, right - left, 2, kLabelSize)) {
    title.height += kLine;
    title.svg +=
        TextElement((left + right) / 2, y + title.height - 1, "label", Anchor::kMiddle, line);
  }
  return title;
}

}  // namespace syncbn::study::document
