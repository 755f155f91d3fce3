#include "nn/iterative_norm.h"

#include <utility>
#include <vector>

#include "base/check.h"
#include "base/error.h"

namespace syncbn::nn {
namespace {

// body(slice, first sample, samples) for slices of these sizes.
template <typename Body>
void ForSlices(const std::vector<int64_t>& sizes, Body body) {
  int64_t begin = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    body(i, begin, begin + sizes[i]);
    begin += sizes[i];
  }
}

}  // namespace

IterativeNorm::IterativeNorm(std::string name, const Options& options,
                             const IterativeOptions& iterative)
    : Norm(std::move(name), options),
      iterative_(iterative),
      blocks_(Blocks()),
      forward_name_(this->name() + " forward"),
      backward_name_(this->name() + " backward") {
  SYNCBN_CHECK(!(iterative_.scope.slice_samples && iterative_.scope.crosses_replicas()));
}

std::vector<int64_t> IterativeNorm::Blocks() const {
  std::vector<int64_t> blocks;
  for (int64_t k = 0; k < iterative_.whitening.groups(); ++k) {
    blocks.push_back(-iterative_.whitening.size(k));
  }
  return blocks;
}

Shape IterativeNorm::OutputShape(const Shape& input) const {
  if (input.rank() >= 2 && input.channels() == iterative_.whitening.channels) return input;
  throw Error(ErrorCode::kInvalidArgument, "iterative norm: the layer takes " +
                                               std::to_string(iterative_.whitening.channels) +
                                               " channels, the input is " + input.ToString())
      .AddFrame("layer " + name());
}

void IterativeNorm::StartStatistics(Pending& pending, StepContext& context) const {
  const NormStatistics& norm = (*context.inputs().running_statistics_layout)[iterative_.statistics];
  backend::Executor& executor = context.executor();
  if (context.mode() == Mode::kEvaluate && norm.tracked) {
    pending.whitenings.push_back(executor.WhitenByRunning(
        iterative_.whitening,
        context.inputs().running_statistics.Slice(norm.offset, {norm.running_elements()})));
    return;
  }
  const std::vector<int64_t> sizes = iterative_.scope.SliceSizes(pending.x.shape()[0]);
  const int64_t block = norm.moments_elements();
  Tensor moments = executor.New({static_cast<int64_t>(sizes.size()), block}, DType::kFloat64);
  ForSlices(sizes, [&](size_t i, int64_t begin, int64_t end) {
    const auto row = static_cast<int64_t>(i);
    Tensor of_slice = moments.Rows(row, row + 1);
    executor.CoMoments(iterative_.whitening, pending.x.Rows(begin, end), of_slice);
  });
  if (context.mode() != Mode::kEvaluate) {
    Tensor log = context.MomentsOf(iterative_.statistics);
    executor.MergeMoments(blocks_, {}, moments, log);
  }
  if (!iterative_.scope.crosses_replicas()) {
    pending.moments = std::move(moments);
    return;
  }
  pending.message = executor.New({1, block}, DType::kFloat64);
  pending.handle = context.link().Start({.operation = comm::Operation::kMergeMoments,
                                         .group = iterative_.scope.GroupOf(context.link()),
                                         .contribution = std::move(moments),
                                         .ready = executor.Record(),
                                         .result = pending.message,
                                         .channels = blocks_,
                                         .name = forward_name_});
}

void IterativeNorm::FinishStatistics(Pending& pending, StepContext& context) const {
  backend::Executor& executor = context.executor();
  const backend::WhiteningSpec& spec = iterative_.whitening;
  if (pending.handle != nullptr) {
    WaitForStatistics(pending.handle, context);
    pending.moments = std::move(pending.message);
  }
  if (pending.moments.defined()) {
    for (int64_t i = 0; i < pending.moments.shape()[0]; ++i) {
      pending.whitenings.push_back(executor.WhitenByMoments(spec, pending.moments.Rows(i, i + 1)));
    }
  }
  const int64_t samples = pending.x.shape()[0];
  const std::vector<int64_t> sizes = pending.whitenings.size() == 1
                                         ? std::vector<int64_t>{samples}
                                         : iterative_.scope.SliceSizes(samples);
  Tensor xhat = executor.New(pending.x.shape());
  StepContext::Record record{.owner = this};
  ForSlices(sizes, [&](size_t i, int64_t begin, int64_t end) {
    const backend::Whitening& whitening = pending.whitenings[i];
    Tensor rows = xhat.Rows(begin, end);
    executor.Whiten(spec, whitening, pending.x.Rows(begin, end), rows);
    record.tensors.insert(record.tensors.end(),
                          {whitening.mean, whitening.matrix, whitening.newton});
  });
  record.tensors.push_back(std::exchange(pending.x, std::move(xhat)));
  context.Save(std::move(record));
  pending.layout = LayoutOf(pending.x.shape(), 1, samples);
  pending.mean = executor.NewZeros({1, spec.channels}, DType::kFloat64);
  pending.inv_std = executor.New({1, spec.channels}, DType::kFloat64);
  executor.Fill(pending.inv_std, 1);
}

Tensor IterativeNorm::BackwardThroughStatistics(Tensor dxhat, StepContext& context) const {
  const StepContext::Record record = context.Restore(this);
  const backend::WhiteningSpec& spec = iterative_.whitening;
  backend::Executor& executor = context.executor();
  const Tensor& x = record.tensors.back();
  const auto whitening = [&](size_t i) {
    return backend::Whitening{.mean = record.tensors[3 * i],
                              .matrix = record.tensors[3 * i + 1],
                              .newton = record.tensors[3 * i + 2]};
  };
  const std::vector<int64_t> sizes = iterative_.scope.SliceSizes(x.shape()[0]);
  const int64_t elements = spec.channels + spec.matrix_elements();
  Tensor sums = executor.New({static_cast<int64_t>(sizes.size()), elements}, DType::kFloat64);
  ForSlices(sizes, [&](size_t i, int64_t begin, int64_t end) {
    const auto row = static_cast<int64_t>(i);
    Tensor of_slice = sums.Rows(row, row + 1);
    executor.WhitenBackwardSums(spec, whitening(i), x.Rows(begin, end), dxhat.Rows(begin, end),
                                of_slice);
  });
  if (iterative_.scope.crosses_replicas()) {
    Tensor merged = executor.New({1, elements}, DType::kFloat64);
    const comm::Reducer::Handle handle =
        context.link().Start({.operation = comm::Operation::kSum,
                              .group = iterative_.scope.GroupOf(context.link()),
                              .contribution = std::move(sums),
                              .ready = executor.Record(),
                              .result = merged,
                              .name = backward_name_});
    WaitForStatistics(handle, context);
    sums = std::move(merged);
  }
  Tensor dx = executor.New(x.shape());
  ForSlices(sizes, [&](size_t i, int64_t begin, int64_t end) {
    const auto row = static_cast<int64_t>(i);
    Tensor rows = dx.Rows(begin, end);
    executor.WhitenBackwardInput(spec, whitening(i), sums.Rows(row, row + 1), x.Rows(begin, end),
                                 dxhat.Rows(begin, end), rows);
  });
  return dx;
}

}  // namespace syncbn::nn
