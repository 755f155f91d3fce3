#include "app/run/histogram_probe.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

namespace syncbn::app {
namespace {

// TensorBoard draws 30.
constexpr int kBuckets = 64;

template <typename T>
tensorboard::HistogramProto HistogramOfSpan(std::span<const T> values) {
  tensorboard::HistogramProto histogram;
  double least = std::numeric_limits<double>::infinity(), greatest = -least, sum = 0, squares = 0;
  int64_t count = 0;
  for (const T element : values) {
    const double value = element;
    if (!std::isfinite(value)) continue;
    ++count;
    least = std::min(least, value);
    greatest = std::max(greatest, value);
    sum += value;
    squares += value * value;
  }
  if (count == 0) return histogram;
  histogram.set_min(least);
  histogram.set_max(greatest);
  histogram.set_num(static_cast<double>(count));
  histogram.set_sum(sum);
  histogram.set_sum_squares(squares);
  const int buckets = least < greatest ? kBuckets : 1;
  const double width = (greatest - least) / buckets;
  std::vector<int64_t> counts(static_cast<size_t>(buckets));
  for (const T element : values) {
    const double value = element;
    if (!std::isfinite(value)) continue;
    const double place = width > 0 ? (value - least) / width : 0;
    // The greatest value belongs to the last; rounding can leave a value of it beyond.
    ++counts[std::min(static_cast<size_t>(place), counts.size() - 1)];
  }
  for (int i = 0; i < buckets; ++i) {
    histogram.add_bucket_limit(i + 1 == buckets ? greatest : least + width * (i + 1));
    histogram.add_bucket(static_cast<double>(counts[static_cast<size_t>(i)]));
  }
  return histogram;
}

}  // namespace

tensorboard::HistogramProto HistogramOf(const Tensor& values) {
  return values.dtype() == DType::kFloat64 ? HistogramOfSpan(values.Span<double>())
                                           : HistogramOfSpan(values.Span<float>());
}

train::NamedFigures HistogramProbe::Look(const train::ProbedStep& step) {
  if (!take_) return {};
  const nn::ParameterLayout& layout = step.model->parameters();
  const Tensor parameters = step.parameters.values().OnHost(), gradients = step.gradients.OnHost();
  for (int i = 0; i < layout.size(); ++i) {
    take_(step.step, "parameters/" + layout[i].name, HistogramOf(layout.View(parameters, i)));
    take_(step.step, "gradients/" + layout[i].name, HistogramOf(layout.View(gradients, i)));
  }
  return {};
}

}  // namespace syncbn::app
