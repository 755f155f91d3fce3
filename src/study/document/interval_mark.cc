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

std::string IntervalMark(const Figure& figure) {
  if (!figure.threshold || !std::isfinite(*figure.threshold) || !std::isfinite(figure.value))
    return "";
  std::vector<double> values = {figure.value, *figure.threshold};
  if (figure.interval) {
    for (const double end : {figure.interval->low, figure.interval->high}) {
      if (std::isnan(end)) return "";
      values.push_back(end);
    }
  }
  const Scale scale(Axis{}, values, kInset, kWidth - kInset);
  const double threshold = *scale.Clamped(*figure.threshold);
  const std::string label = "threshold " + NumberText(*figure.threshold);
  const double half = TextWidth(label, 11) / 2;
  std::string svg = "<svg class=\"against\" aria-hidden=\"true\" viewBox=\"0 0 " + Px(kWidth) +
                    " " + Px(kHeight) + "\">";
  svg += LineElement(0, kMiddle, kWidth, kMiddle, "grid");
  svg += LineElement(threshold, 1, threshold, kMiddle + 11, "reference");
  svg += TextElement(std::clamp(threshold, half, std::max(half, kWidth - half)), kHeight - 3,
                     "small quiet", Anchor::kMiddle, label);
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
  svg += "<circle class=\"shape\" cx=\"" + Px(*scale.Clamped(figure.value)) + "\" cy=\"" +
         Px(kMiddle) + "\" r=\"4.5\"/>";
  return svg + "</g></svg>";
}

}  // namespace syncbn::study::document
