#include "study/document/interval_mark.h"

#include <algorithm>
#include <cmath>

#include "study/document/markup.h"
#include "study/document/number_text.h"
#include "study/document/scale.h"
#include "study/document/text_layout.h"

namespace syncbn::study::document {
namespace {

constexpr double kWidth = 260;
constexpr double kHeight = 38;
constexpr double kInset = 12;
constexpr double kMiddle = 12;

}  // namespace

std::string ThresholdsText(const Figure& figure) {
  std::string text;
  for (size_t i = 0; i < figure.thresholds.size(); ++i) {
    const bool last = i + 1 == figure.thresholds.size();
    text += (i == 0 ? "" : last ? " and " : ", ") + NumberText(figure.thresholds[i]);
  }
  return text.empty() ? text
                      : (figure.thresholds.size() == 1 ? "threshold " : "thresholds ") + text;
}

std::string IntervalMark(const Figure& figure) {
  if (figure.thresholds.empty() || !std::isfinite(figure.value)) return "";
  std::vector<double> values = {figure.value};
  for (const double threshold : figure.thresholds) {
    if (!std::isfinite(threshold)) return "";
    values.push_back(threshold);
  }
  if (figure.interval) {
    for (const double end : {figure.interval->low, figure.interval->high}) {
      if (std::isnan(end)) return "";
      values.push_back(end);
    }
  }
  const Scale scale(Axis{}, values, kInset, kWidth - kInset);
  std::string svg = "<svg class=\"against\" aria-hidden=\"true\" viewBox=\"0 0 " + Px(kWidth) +
                    " " + Px(kHeight) + "\">" + LineElement(0, kMiddle, kWidth, kMiddle, "grid");
  double sum = 0;
  for (const double threshold : figure.thresholds) {
    const double x = *scale.Clamped(threshold);
    svg += LineElement(x, 1, x, kMiddle + 11, "reference");
    sum += x;
  }
  const std::string label = WrappedText(ThresholdsText(figure), kWidth, 1, kLabelSize).front();
  const double half = std::min(kWidth, TextWidth(label)) / 2;
  const double middle = sum / static_cast<double>(figure.thresholds.size());
  svg += TextElement(std::clamp(middle, half, kWidth - half), kHeight - 3, "small quiet",
                     Anchor::kMiddle, label);
  svg += "<g class=\"s c0\">";
  if (figure.interval) {
    const double low = *scale.Clamped(figure.interval->low),
                 high = *scale.Clamped(figure.interval->high);
    std::string path = "M" + Px(low) + " " + Px(kMiddle) + "H" + Px(high);
    for (const double end : {figure.interval->low, figure.interval->high}) {
      if (const auto x = scale.At(end)) path += "M" + Px(*x) + " " + Px(kMiddle - 4) + "v8";
    }
    svg += "<path class=\"whisker\" d=\"" + path + "\"/>";
  }
  // Beside an open end the value is no estimate.
  if (!figure.interval ||
      (std::isfinite(figure.interval->low) && std::isfinite(figure.interval->high))) {
    svg += "<circle class=\"shape\" cx=\"" + Px(*scale.Clamped(figure.value)) + "\" cy=\"" +
           Px(kMiddle) + "\" r=\"4.5\"/>";
  }
  return svg + "</g></svg>";
}

}  // namespace syncbn::study::document
