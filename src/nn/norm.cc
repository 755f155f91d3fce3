#include "nn/norm.h"

#include <chrono>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace syncbn::nn {
namespace {

using Accum = double;

// dst (+)= the sum of `terms` over its first axis, [segments, C] -> [C].
template <typename T>
void StoreColumnSums(const Tensor& terms, const backend::GradientOut& out) {
  Tensor target = out.tensor;
  const std::span<T> dst = target.Span<T>();
  const std::span<const Accum> src = terms.Span<Accum>();
  const size_t channels = dst.size();
  std::vector<Accum> sums(channels, 0);
  for (size_t i = 0; i < src.size(); ++i) sums[i % channels] += src[i];
  for (size_t c = 0; c < channels; ++c) {
    dst[c] = static_cast<T>(out.accumulate ? static_cast<Accum>(dst[c]) + sums[c] : sums[c]);
  }
}

void StoreColumnSums(const Tensor& terms, const backend::GradientOut& out) {
  if (out.tensor.dtype() == DType::kFloat64) {
    StoreColumnSums<double>(terms, out);
  } else {
    StoreColumnSums<float>(terms, out);
  }
}

}  // namespace

backend::RowLayout LayoutOf(const Shape& x, int64_t segments, int64_t samples) {
  SYNCBN_CHECK_EQ(segments * samples, x[0]) << "samples of " << x;
  int64_t rows_per_sample = 1;
  for (int axis = 1; axis + 1 < x.rank(); ++axis) rows_per_sample *= x[axis];
  return {.segments = segments,
          .samples = samples,
          .rows_per_sample = rows_per_sample,
          .channels = x.channels()};
}

Tensor Norm::Forward(Tensor x, StepContext& context) const {
  return Finish(Start(std::move(x), context), Tensor(), context);
}

Norm::Pending Norm::Start(Tensor x, StepContext& context) const {
  Pending pending;
  pending.x = std::move(x);
  StartStatistics(pending, context);
  return pending;
}

Tensor Norm::Finish(Pending pending, const Tensor& residual, StepContext& context) const {
  FinishStatistics(pending, context);
  const backend::Normalization norm{.layout = pending.layout,
                                    .mean = pending.mean,
                                    .inv_std = pending.inv_std,
                                    .gamma = UseIfAny(options_.gamma, context),
                                    .beta = UseIfAny(options_.beta, context),
                                    .relu = relu_};
  Tensor y = context.executor().NormalizeForward(norm, pending.x, residual);
  // Where there was no residual the backward pass finds ReLU's mask again without y.
  const bool keep_y = relu_ && residual.defined();
  context.Save({.owner = this,
                .tensors = {std::move(pending.x), keep_y ? y : Tensor(), std::move(pending.mean),
                            std::move(pending.inv_std), std::move(pending.counts)},
                .shapes = {Shape{pending.layout.segments, pending.layout.samples}}});
  return y;
}

Tensor Norm::Backward(Tensor dy, StepContext& context) const {
  return Backward(std::move(dy), nullptr, context);
}

Tensor Norm::Backward(Tensor dy, Tensor* dresidual, StepContext& context) const {
  StepContext::Record record = context.Restore(this);
  const Tensor& x = record.tensors[0];
  const Tensor& y = record.tensors[1];
  const Tensor& counts = record.tensors[4];
  const backend::Normalization norm{
      .layout = LayoutOf(x.shape(), record.shapes[0][0], record.shapes[0][1]),
      .mean = record.tensors[2],
      .inv_std = record.tensors[3],
      .gamma = options_.gamma ? context.Parameter(*options_.gamma) : Tensor(),
      .beta = options_.beta ? context.Parameter(*options_.beta) : Tensor(),
      .relu = relu_};
  const Shape statistics{norm.layout.segments, norm.layout.channels};
  Tensor sum_dy(statistics, DType::kFloat64), sum_dy_xhat(statistics, DType::kFloat64);
  context.executor().NormalizeBackwardSums(norm, x, y, dy, sum_dy, sum_dy_xhat);

  Tensor a(statistics, DType::kFloat64), b(statistics, DType::kFloat64);
  const std::vector<double> gamma = Gamma(norm.layout.channels, context);
  const Sums sums{norm.layout, sum_dy, sum_dy_xhat, counts, gamma, a, b};
  Tensor message;
  const comm::Reducer::Handle handle = StartInputTerms(sums, message, context);
  WriteParameterGradients(sum_dy, sum_dy_xhat, context);
  FinishInputTerms(sums, handle, message, context);
  return context.executor().NormalizeBackwardInput(norm, x, y, std::move(dy), a, b, dresidual);
}

Tensor Norm::InverseStd(const Tensor& m2, const Tensor& counts) const {
  Tensor result(m2.shape(), DType::kFloat64);
  const std::span<const double> m2s = m2.Span<double>(), ns = counts.Span<double>();
  const std::span<double> out = result.Span<double>();
  const size_t channels = static_cast<size_t>(m2.shape().channels());
  for (size_t i = 0; i < out.size(); ++i) {
    const double n = ns[i / channels];
    out[i] = 1 / std::sqrt((n > 0 ? m2s[i] / n : 0) + options_.epsilon);
  }
  return result;
}

void Norm::WaitForStatistics(const comm::Reducer::Handle& handle, StepContext& context) {
  const auto start = std::chrono::steady_clock::now();
  context.link().Wait(handle);
  context.statistics_time += std::chrono::steady_clock::now() - start;
  ++context.statistics_messages;
}

Tensor Norm::UseIfAny(std::optional<int> parameter, StepContext& context) const {
  return parameter ? context.Use(*parameter) : Tensor();
}

std::vector<double> Norm::Gamma(int64_t channels, StepContext& context) const {
  if (!options_.gamma) return std::vector<double>(static_cast<size_t>(channels), 1.0);
  const Tensor gamma = context.Parameter(*options_.gamma);
  if (gamma.dtype() == DType::kFloat64) {
    const std::span<const double> values = gamma.Span<double>();
    return {values.begin(), values.end()};
  }
  const std::span<const float> values = gamma.Span<float>();
  return {values.begin(), values.end()};
}

void Norm::WriteParameterGradients(const Tensor& sum_dy, const Tensor& sum_dy_xhat,
                                   StepContext& context) const {
  // In the reverse of the order in which they are declared.
  if (options_.beta) {
    StoreColumnSums(sum_dy, context.Gradient(*options_.beta));
    context.GradientDone(*options_.beta);
  }
  if (options_.gamma) {
    StoreColumnSums(sum_dy_xhat, context.Gradient(*options_.gamma));
    context.GradientDone(*options_.gamma);
  }
}

}  // namespace syncbn::nn
