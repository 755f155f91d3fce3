#include "nn/batch_norm.h"

#include <utility>
#include <vector>

#include "base/check.h"
#include "base/text.h"

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
  if (context.mode() == Mode::kEvaluate && tracked) return UseRunningStatistics(pending, context);

  const Tensor& x = pending.x;
  const int64_t samples = x.shape()[0], channels = batch_.channels;
  const std::vector<int64_t> sizes = batch_.scope.SliceSizes(samples);
  const int64_t slices = static_cast<int64_t>(sizes.size());
  const bool equal = Equal(sizes);
  pending.layout = equal ? LayoutOf(x.shape(), slices, sizes[0]) : LayoutOf(x.shape(), samples, 1);

  backend::Executor& executor = context.executor();
  const int64_t block = backend::MomentsElements(channels);
  Tensor moments = executor.New({pending.layout.segments, block}, DType::kFloat64);
  executor.Moments(pending.layout, x, moments);
  if (!equal) {
    Tensor of_slices = executor.NewZeros({slices, block}, DType::kFloat64);
    executor.MergeMoments({&batch_.channels, 1}, sizes, moments, of_slices);
    moments = std::move(of_slices);
  }
  if (context.mode() != Mode::kEvaluate) {
    Tensor log = context.MomentsOf(batch_.statistics);
    executor.MergeMoments({&batch_.channels, 1}, {}, moments, log);
  }
  if (batch_.scope.crosses_replicas()) {
    pending.message = executor.New({1, block}, DType::kFloat64);
    pending.handle = context.link().Start({.operation = comm::Operation::kMergeMoments,
                                           .group = GroupOf(context),
                                           .contribution = std::move(moments),
                                           .ready = executor.Record(),
                                           .result = pending.message,
                                           .channels = {&batch_.channels, 1},
                                           .name = forward_name_});
    return;
  }
  pending.Set(executor.FinishMoments(moments, equal ? std::vector<int64_t>() : sizes, epsilon()));
}

void BatchNorm::FinishStatistics(Pending& pending, StepContext& context) const {
  if (pending.handle == nullptr) return;
  WaitForStatistics(pending.handle, context);
  pending.Set(context.executor().FinishMoments(pending.message, {}, epsilon()));
}

void BatchNorm::UseRunningStatistics(Pending& pending, StepContext& context) const {
  const NormStatistics& norm = (*context.inputs().running_statistics_layout)[batch_.statistics];
  const Tensor& running = context.inputs().running_statistics;
  const Shape statistics{1, norm.channels};
  pending.layout = LayoutOf(pending.x.shape(), 1, pending.x.shape()[0]);
  pending.mean = running.Slice(norm.offset, statistics);
  pending.inv_std = context.executor().InverseStd(
      running.Slice(norm.offset + norm.channels, statistics), epsilon());
}

comm::Group BatchNorm::GroupOf(const StepContext& context) const {
  const comm::ReplicaLink& link = context.link();
  const comm::Group group = batch_.scope.GroupOf(link.replica);
  if (link.reducer == nullptr || group.end > link.replicas()) {
    throw Error(ErrorCode::kFailedPrecondition,
                "statistics are shared by " + Plural(group.size(), "replica") + ", and " +
                    (link.reducer == nullptr ? std::string("this pass has no reducer")
                                             : "there are " + std::to_string(link.replicas())) +
                    "; build the model for the cluster it runs on");
  }
  return group;
}

comm::Reducer::Handle BatchNorm::StartInputTerms(const Sums& sums, Tensor& message,
                                                 StepContext& context) const {
  if (!batch_.scope.crosses_replicas()) return nullptr;
  backend::Executor& executor = context.executor();
  const Shape shape{2 * batch_.channels};
  message = executor.New(shape, DType::kFloat64);
  // A copy: the sums are also this replica's gradients of gamma and beta.
  return context.link().Start({.operation = comm::Operation::kSum,
                               .group = GroupOf(context),
                               .contribution = executor.Clone(sums.both.Reshape(shape)),
                               .ready = executor.Record(),
                               .result = message,
                               .name = backward_name_});
}

backend::InputTerms BatchNorm::FinishInputTerms(const Sums& sums,
                                                const comm::Reducer::Handle& handle,
                                                const Tensor& message, StepContext& context) const {
  backend::Executor& executor = context.executor();
  if (handle != nullptr) {
    WaitForStatistics(handle, context);
    const Shape statistics{1, batch_.channels};
    return executor.BatchInputTerms(message.Slice(0, statistics),
                                    message.Slice(batch_.channels, statistics), sums.counts,
                                    sums.gamma, {});
  }
  std::vector<int64_t> sizes = batch_.scope.SliceSizes(sums.layout.segments * sums.layout.samples);
  if (Equal(sizes)) sizes.clear();
  return executor.BatchInputTerms(sums.dy, sums.dy_xhat, sums.counts, sums.gamma, sizes);
}

}  // namespace syncbn::nn
