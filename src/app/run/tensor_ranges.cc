#include "app/run/tensor_ranges.h"

#include <algorithm>
#include <cmath>

namespace syncbn::app {
namespace {

template <typename T>
void Scan(std::span<const T> values, int64_t samples, TensorRange& range) {
  const int64_t per_sample = samples > 0 ? static_cast<int64_t>(values.size()) / samples : 1;
  bool any = false;
  for (size_t i = 0; i < values.size(); ++i) {
    const double value = values[i];
    if (!std::isfinite(value)) {
      if (range.not_finite++ == 0) range.first_bad_sample = static_cast<int64_t>(i) / per_sample;
      continue;
    }
    range.min = any ? std::min(range.min, value) : value;
    range.max = any ? std::max(range.max, value) : value;
    any = true;
  }
}

}  // namespace

TensorRange RangeOf(const Tensor& tensor) {
  TensorRange range{.elements = tensor.elements()};
  const int64_t samples = tensor.shape().rank() > 0 ? tensor.shape()[0] : 1;
  if (tensor.dtype() == DType::kFloat32) Scan(tensor.Span<float>(), samples, range);
  if (tensor.dtype() == DType::kBFloat16) {
    const Tensor wide = tensor.As(DType::kFloat32);
    Scan(wide.Span<float>(), samples, range);
  }
  if (tensor.dtype() == DType::kFloat64) Scan(tensor.Span<double>(), samples, range);
  return range;
}

nn::TensorObserver RangeCollector::Observer(int replica) {
  return [this, replica](std::string_view layer, std::string_view what, const Tensor& tensor) {
    TensorRange range = RangeOf(tensor);
    range.replica = replica;
    range.layer = layer;
    range.what = what;
    std::lock_guard lock(mutex_);
    if (by_replica_.size() <= static_cast<size_t>(replica)) {
      by_replica_.resize(static_cast<size_t>(replica) + 1);
    }
    by_replica_[static_cast<size_t>(replica)].push_back(std::move(range));
  };
}

std::vector<TensorRange> RangeCollector::Ranges() const {
  std::lock_guard lock(mutex_);
  std::vector<TensorRange> all;
  for (const auto& ranges : by_replica_) all.insert(all.end(), ranges.begin(), ranges.end());
  return all;
}

}  // namespace syncbn::app
