#include "nn/batch_norm.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/text.h"

namespace syncbn::nn {
namespace {

Tensor NewStatistics(Shape shape) {
  return Tensor(shape, DType::kFloat64);
}

// Slices that differ in size do not fit a RowLayout of equal segments: then every sample is a
// segment that carries its slice's statistics.
bool Equal(const std::vector<int64_t>& sizes) {
  return sizes.front() == sizes.back();
}

// [count, mean[C], m2[C]] of row `segment` of mean and m2.
Tensor MomentsBlock(double count, const Tensor& mean, const Tensor& m2, int64_t segment) {
  const int64_t channels = mean.shape().channels();
  Tensor block = NewStatistics({1 + 2 * channels});
  double* out = block.Data<double>();
  out[0] = count;
  std::copy_n(mean.Data<double>() + segment * channels, channels, out + 1);
  std::copy_n(m2.Data<double>() + segment * channels, channels, out + 1 + channels);
  return block;
}

// The moments of slices from those of their samples.
void MergeSamples(const std::vector<int64_t>& sizes, double rows_per_sample, const Tensor& mean,
                  const Tensor& m2, Tensor& slice_mean, Tensor& slice_m2) {
  const int64_t channels = mean.shape().channels();
  int64_t sample = 0;
  for (size_t s = 0; s < sizes.size(); ++s) {
    Tensor merged = Tensor::Zeros({1 + 2 * channels}, DType::kFloat64);
    for (int64_t i = 0; i < sizes[s]; ++i, ++sample) {
      const Tensor block = MomentsBlock(rows_per_sample, mean, m2, sample);
      comm::MergeMoments({&channels, 1}, merged.Span<double>(), block.Span<double>());
    }
    const int64_t offset = static_cast<int64_t>(s) * channels;
    const double* values = merged.Data<double>();
    std::copy_n(values + 1, channels, slice_mean.Data<double>() + offset);
    std::copy_n(values + 1 + channels, channels, slice_m2.Data<double>() + offset);
  }
}

// One row for each slice -> one row for each of its samples.
Tensor Repeated(const Tensor& rows, const std::vector<int64_t>& sizes, int64_t samples) {
  const int64_t channels = rows.elements() / static_cast<int64_t>(sizes.size());
  Tensor result = NewStatistics(rows.shape().WithLeading(samples));
  double* out = result.Data<double>();
  const double* row = rows.Data<double>();
  for (int64_t size : sizes) {
    for (int64_t i = 0; i < size; ++i, out += channels) std::copy_n(row, channels, out);
    row += channels;
  }
  return result;
}

// The inverse for sums: rows of samples are added to those of their slices.
Tensor SummedBySlice(const Tensor& rows, const std::vector<int64_t>& sizes) {
  const int64_t channels = rows.shape().channels();
  Tensor result = Tensor::Zeros({static_cast<int64_t>(sizes.size()), channels}, DType::kFloat64);
  double* out = result.Data<double>();
  const double* row = rows.Data<double>();
  for (int64_t size : sizes) {
    for (int64_t i = 0; i < size; ++i, row += channels) {
      for (int64_t c = 0; c < channels; ++c) out[c] += row[c];
    }
    out += channels;
  }
  return result;
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
  const bool tracked = (*context.inputs().state_layout)[batch_.state].tracked;
  if (context.mode() == Mode::kEvaluate && tracked) return UseRunningStatistics(pending, context);

  const Tensor& x = pending.x;
  const int64_t samples = x.shape()[0], channels = batch_.channels;
  const std::vector<int64_t> sizes = batch_.scope.SliceSizes(samples);
  const int64_t slices = static_cast<int64_t>(sizes.size());
  const bool equal = Equal(sizes);
  pending.layout = equal ? LayoutOf(x.shape(), slices, sizes[0]) : LayoutOf(x.shape(), samples, 1);

  Tensor mean = NewStatistics({pending.layout.segments, channels});
  Tensor m2 = NewStatistics({pending.layout.segments, channels});
  context.executor().Moments(pending.layout, x, mean, m2);
  const double rows_per_sample = static_cast<double>(pending.layout.rows_per_sample);
  if (!equal) {
    Tensor slice_mean = NewStatistics({slices, channels}),
           slice_m2 = NewStatistics({slices, channels});
    MergeSamples(sizes, rows_per_sample, mean, m2, slice_mean, slice_m2);
    mean = std::move(slice_mean);
    m2 = std::move(slice_m2);
  }
  Tensor counts = NewStatistics({slices});
  for (int64_t s = 0; s < slices; ++s) {
    counts.Data<double>()[s] = static_cast<double>(sizes[static_cast<size_t>(s)]) * rows_per_sample;
  }
  if (context.mode() != Mode::kEvaluate) {
    const std::span<double> log = context.MomentsOf(batch_.state);
    for (int64_t s = 0; s < slices; ++s) {
      const Tensor block = MomentsBlock(counts.Data<double>()[s], mean, m2, s);
      comm::MergeMoments({&batch_.channels, 1}, log, block.Span<double>());
    }
  }
  if (batch_.scope.crosses_replicas()) {
    pending.message = NewStatistics({1 + 2 * channels});
    pending.handle =
        context.link().Start({.operation = comm::Operation::kMergeMoments,
                              .group = GroupOf(context),
                              .contribution = MomentsBlock(counts.Data<double>()[0], mean, m2, 0),
                              .result = pending.message,
                              .channels = {&batch_.channels, 1},
                              .name = forward_name_});
    return;
  }
  pending.inv_std = InverseStd(m2, counts);
  pending.mean = std::move(mean);
  pending.counts = std::move(counts);
  if (!equal) {
    for (Tensor* rows : {&pending.mean, &pending.inv_std, &pending.counts}) {
      *rows = Repeated(*rows, sizes, samples);
    }
  }
}

void BatchNorm::FinishStatistics(Pending& pending, StepContext& context) const {
  if (pending.handle == nullptr) return;
  WaitForStatistics(pending.handle, context);
  const int64_t channels = batch_.channels;
  pending.counts = pending.message.Slice(0, {1});
  pending.mean = pending.message.Slice(1, {1, channels});
  pending.inv_std = InverseStd(pending.message.Slice(1 + channels, {1, channels}), pending.counts);
}

void BatchNorm::UseRunningStatistics(Pending& pending, StepContext& context) const {
  const NormState& norm = (*context.inputs().state_layout)[batch_.state];
  const Tensor& state = context.inputs().state;
  pending.layout = LayoutOf(pending.x.shape(), 1, pending.x.shape()[0]);
  pending.mean = state.Slice(norm.offset, {1, norm.channels});
  Tensor one = NewStatistics({1});
  one.Data<double>()[0] = 1;
  pending.inv_std = InverseStd(state.Slice(norm.offset + norm.channels, {1, norm.channels}), one);
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
  const int64_t channels = batch_.channels;
  Tensor contribution = NewStatistics({2 * channels});
  std::copy_n(sums.dy.Data<double>(), channels, contribution.Data<double>());
  std::copy_n(sums.dy_xhat.Data<double>(), channels, contribution.Data<double>() + channels);
  message = NewStatistics({2 * channels});
  return context.link().Start({.operation = comm::Operation::kSum,
                               .group = GroupOf(context),
                               .contribution = std::move(contribution),
                               .result = message,
                               .name = backward_name_});
}

void BatchNorm::FinishInputTerms(const Sums& sums, const comm::Reducer::Handle& handle,
                                 const Tensor& message, StepContext& context) const {
  const int64_t channels = batch_.channels, samples = sums.layout.segments * sums.layout.samples;
  Tensor dy = sums.dy, dy_xhat = sums.dy_xhat;
  if (handle != nullptr) {
    WaitForStatistics(handle, context);
    dy = message.Slice(0, {1, channels});
    dy_xhat = message.Slice(channels, {1, channels});
  } else if (const std::vector<int64_t> sizes = batch_.scope.SliceSizes(samples); !Equal(sizes)) {
    dy = Repeated(SummedBySlice(dy, sizes), sizes, samples);
    dy_xhat = Repeated(SummedBySlice(dy_xhat, sizes), sizes, samples);
  }
  const double* total_dy = std::as_const(dy).Data<double>();
  const double* total_dy_xhat = std::as_const(dy_xhat).Data<double>();
  const double* count = sums.counts.Data<double>();
  for (int64_t s = 0; s < sums.layout.segments; ++s) {
    // Divided, not multiplied by 1 / n: the mean of equal elements is that element.
    const double n = std::max(1.0, count[s]);
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t i = s * channels + c;
      const double gamma = sums.gamma[static_cast<size_t>(c)];
      sums.a.Data<double>()[i] = gamma * (total_dy[i] / n);
      sums.b.Data<double>()[i] = gamma * (total_dy_xhat[i] / n);
    }
  }
}

}  // namespace syncbn::nn
