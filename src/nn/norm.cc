#include "nn/norm.h"

#include <utility>

#include "base/check.h"

namespace syncbn::nn {

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

Norm::Pending Norm::Start(Tensor x, StepContext& context, TimeSteps steps) const {
  Pending pending;
  pending.x = std::move(x);
  pending.steps = steps;
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
                            std::move(pending.inv_std), std::move(pending.counts),
                            std::move(pending.renorm.r), std::move(pending.renorm.d)},
                .shapes = {Shape{pending.layout.segments, pending.layout.samples},
                           Shape{pending.steps.count}}});
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
  const backend::Renorm renorm{.r = record.tensors[5], .d = record.tensors[6]};
  const backend::Normalization norm{
      .layout = LayoutOf(x.shape(), record.shapes[0][0], record.shapes[0][1]),
      .mean = record.tensors[2],
      .inv_std = record.tensors[3],
      .gamma = options_.gamma ? context.Parameter(*options_.gamma) : Tensor(),
      .beta = options_.beta ? context.Parameter(*options_.beta) : Tensor(),
      .relu = relu_};
  backend::Executor& executor = context.executor();
  const Shape statistics{norm.layout.segments, norm.layout.channels};
  const Tensor both = executor.New({2, statistics[0], statistics[1]}, DType::kFloat64);
  Tensor sum_dy = both.Slice(0, statistics);
  Tensor sum_dy_xhat = both.Slice(statistics.elements(), statistics);
  executor.NormalizeBackwardSums(norm, x, y, dy, sum_dy, sum_dy_xhat);

  const Sums sums{norm.layout,         both,  sum_dy, sum_dy_xhat, counts, norm.gamma,
                  record.shapes[1][0], renorm};
  Tensor message;
  const comm::Reducer::Handle handle = StartInputTerms(sums, message, context);
  // While the message is under way; before this norm's own gradients, which come after them.
  context.RunDeferred();
  WriteParameterGradients(sums, context);
  const backend::InputTerms terms = FinishInputTerms(sums, handle, message, context);
  return BackwardThroughStatistics(
      executor.NormalizeBackwardInput(norm, x, y, std::move(dy), terms, dresidual), context);
}

void Norm::WaitForStatistics(const comm::Reducer::Handle& handle, StepContext& context) {
  context.link().Wait(handle, context.executor());
  ++context.statistics_messages;
}

Tensor Norm::UseIfAny(std::optional<int> parameter, StepContext& context) const {
  return parameter ? context.Use(*parameter) : Tensor();
}

void Norm::WriteParameterGradients(const Sums& sums, StepContext& context) const {
  const auto gradient = [&](std::optional<int> parameter) {
    return parameter && context.IsTrained(*parameter) ? context.Gradient(*parameter)
                                                      : backend::GradientOut{};
  };
  context.executor().AffineGradients(sums.dy, sums.dy_xhat, gradient(options_.gamma),
                                     gradient(options_.beta));
  // In the reverse of the order in which they are declared.
  if (options_.beta) context.GradientDone(*options_.beta);
  if (options_.gamma) context.GradientDone(*options_.gamma);
}

}  // namespace syncbn::nn
