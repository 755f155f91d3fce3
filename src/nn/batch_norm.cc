#include "nn/batch_norm.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"

namespace syncbn::nn {
namespace {

// Slices that differ in size do not fit a RowLayout of equal segments: then every sample is a
// segment that carries its slice's statistics.
bool Equal(const std::vector<int64_t>& sizes) {
  return sizes.front() == sizes.back();
}

}  // namespace

BatchNorm::BatchNorm(std::string name, const Options& options, const BatchOptions& batch)
    : Norm(std::move(name), options),
      batch_(batch),
      forward_name_(this->name() + " forward"),
      backward_name_(this->name() + " backward") {
  SYNCBN_CHECK(!(batch_.scope.slice_samples && batch_.scope.crosses_replicas()));
}

Shape BatchNorm::OutputShape(const Shape& input) const {
  if (input.rank() >= 2 && input.channels() == batch_.channels) return input;
  throw Error(ErrorCode::kInvalidArgument, "batch norm: the layer takes " +
                                               std::to_string(batch_.channels) +
                                               " channels, the input is " + input.ToString())
      .AddFrame("layer " + name());
}

void BatchNorm::StartStatistics(Pending& pending, StepContext& context) const {
  const bool tracked = (*context.inputs().running_statistics_layout)[batch_.statistics].tracked;
  if (batch_.frozen || (context.mode() == Mode::kEvaluate && tracked)) {
    return UseRunningStatistics(pending, context);
  }

  const Tensor& x = pending.x;
  const int64_t rows = x.shape()[0], channels = batch_.channels, steps = pending.steps.count;
  const std::vector<int64_t> sizes = SliceSizes(rows, steps);
  const int64_t slices = static_cast<int64_t>(sizes.size());
  const bool equal = Equal(sizes);
  pending.layout = equal ? LayoutOf(x.shape(), slices, sizes[0]) : LayoutOf(x.shape(), rows, 1);

  backend::Executor& executor = context.executor();
  const int64_t block = backend::MomentsElements(channels);
  Tensor moments = executor.New({pending.layout.segments, block}, DType::kFloat64);
  executor.Moments(pending.layout, x, moments);
  if (!equal) {
    Tensor of_slices = executor.NewZeros({slices, block}, DType::kFloat64);
    executor.MergeMoments({&batch_.channels, 1}, sizes, moments, of_slices);
    moments = std::move(of_slices);
  }
  if (context.mode() != Mode::kEvaluate) LogMoments(pending, moments, context);
  if (batch_.scope.crosses_replicas()) {
    pending.message = executor.New({steps, block}, DType::kFloat64);
    pending.channels.assign(static_cast<size_t>(steps), channels);
    pending.handle = context.link().Start({.operation = comm::Operation::kMergeMoments,
                                           .group = batch_.scope.GroupOf(context.link()),
                                           .contribution = std::move(moments),
                                           .ready = executor.Record(),
                                           .result = pending.message,
                                           .channels = pending.channels,
                                           .name = forward_name_});
    return;
  }
  UseBatchStatistics(
      pending, executor.FinishMoments(moments, equal ? std::vector<int64_t>() : sizes, epsilon()),
      context);
}

void BatchNorm::FinishStatistics(Pending& pending, StepContext& context) const {
  if (pending.handle == nullptr) return;
  WaitForStatistics(pending.handle, context);
  UseBatchStatistics(pending, context.executor().FinishMoments(pending.message, {}, epsilon()),
                     context);
}

std::vector<int64_t> BatchNorm::SliceSizes(int64_t samples, int64_t count) const {
  const std::vector<int64_t> of_one = batch_.scope.SliceSizes(samples / count);
  std::vector<int64_t> sizes;
  for (int64_t step = 0; step < count; ++step) {
    sizes.insert(sizes.end(), of_one.begin(), of_one.end());
  }
  return sizes;
}

void BatchNorm::LogMoments(const Pending& pending, const Tensor& moments,
                           StepContext& context) const {
  const TimeSteps& steps = pending.steps;
  const int64_t logged = std::min(steps.first + steps.count, batch_.steps) - steps.first;
  if (logged <= 0) return;
  const int64_t slices = moments.shape()[0] / steps.count;
  Tensor log = context.MomentsOf(batch_.statistics + static_cast<int>(steps.first), logged);
  context.executor().MergeMoments({&batch_.channels, 1},
                                  std::vector<int64_t>(static_cast<size_t>(logged), slices),
                                  moments.Rows(0, logged * slices), log);
}

void BatchNorm::UseRunningStatistics(Pending& pending, StepContext& context) const {
  const auto norm_of = [&](int64_t step) -> const NormStatistics& {
    const int64_t known = std::min(step, batch_.steps - 1);
    return (
        *context.inputs().running_statistics_layout)[batch_.statistics + static_cast<int>(known)];
  };
  const auto [first, count] = pending.steps;
  const Tensor& running = context.inputs().running_statistics;
  backend::Executor& executor = context.executor();
  const Shape of_one{1, batch_.channels};
  Tensor mean, variance;
  if (count == 1) {
    const int64_t offset = norm_of(first).offset;
    mean = running.Slice(offset, of_one);
    variance = running.Slice(offset + batch_.channels, of_one);
  } else {
    mean = executor.New(of_one.WithLeading(count), DType::kFloat64);
    variance = executor.New(mean.shape(), DType::kFloat64);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t offset = norm_of(first + i).offset;
      Tensor mean_row = mean.Rows(i, i + 1), variance_row = variance.Rows(i, i + 1);
      executor.Copy(running.Slice(offset, of_one), mean_row);
      executor.Copy(running.Slice(offset + batch_.channels, of_one), variance_row);
    }
  }
  pending.layout = LayoutOf(pending.x.shape(), count, pending.x.shape()[0] / count);
  pending.mean = std::move(mean);
  pending.inv_std = executor.InverseStd(variance, epsilon());
}

comm::Reducer::Handle BatchNorm::StartInputTerms(const Sums& sums, Tensor& message,
                                                 StepContext& context) const {
  if (batch_.frozen || !batch_.scope.crosses_replicas()) return nullptr;
  backend::Executor& executor = context.executor();
  const Shape shape{sums.both.elements()};
  message = executor.New(shape, DType::kFloat64);
  // A copy: the sums are also this replica's gradients of gamma and beta.
  return context.link().Start({.operation = comm::Operation::kSum,
                               .group = batch_.scope.GroupOf(context.link()),
                               .contribution = executor.Clone(sums.both.Reshape(shape)),
                               .ready = executor.Record(),
                               .result = message,
                               .name = backward_name_});
}

backend::InputTerms BatchNorm::FinishInputTerms(const Sums& sums,
                                                const comm::Reducer::Handle& handle,
                                                const Tensor& message, StepContext& context) const {
  backend::Executor& executor = context.executor();
  if (batch_.frozen) {
    // Statistics that do not depend on x take no share of its gradient.
    const Shape shape{sums.layout.segments, batch_.channels};
    return {.mean_dy = executor.NewZeros(shape, DType::kFloat64),
            .mean_dy_xhat = executor.NewZeros(shape, DType::kFloat64)};
  }
  if (handle != nullptr) {
    WaitForStatistics(handle, context);
    const Shape statistics{sums.steps, batch_.channels};
    return executor.BatchInputTerms(message.Slice(0, statistics),
                                    message.Slice(statistics.elements(), statistics), sums.counts,
                                    sums.gamma, {});
  }
  std::vector<int64_t> sizes = SliceSizes(sums.layout.segments * sums.layout.samples, sums.steps);
  if (Equal(sizes)) sizes.clear();
  return executor.BatchInputTerms(sums.dy, sums.dy_xhat, sums.counts, sums.gamma, sizes);
}

}  // namespace syncbn::nn
