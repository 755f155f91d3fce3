#include "nn/sample_norm.h"

#include <algorithm>

#include "base/check.h"

namespace syncbn::nn {
namespace {

// Replaces mean and m2 of the channels of a group by those of the whole group. The channels hold
// equally many elements, so Chan's formula for all of them at once is a mean of means and a sum of
// squares.
void MergeChannels(int64_t size, double elements, double* mean, double* m2) {
  double sum = 0;
  for (int64_t c = 0; c < size; ++c) sum += mean[c];
  const double center = sum / static_cast<double>(size);
  double within = 0, between = 0;
  for (int64_t c = 0; c < size; ++c) {
    within += m2[c];
    between += (mean[c] - center) * (mean[c] - center);
  }
  std::fill_n(mean, size, center);
  std::fill_n(m2, size, within + elements * between);
}

}  // namespace

SampleNorm::SampleNorm(std::string name, const Options& options, int64_t channels, int64_t groups)
    : Norm(std::move(name), options), channels_(channels), groups_(groups) {
  SYNCBN_CHECK_EQ(channels % groups, 0) << "groups of " << this->name();
}

Shape SampleNorm::OutputShape(const Shape& input) const {
  if (input.rank() < 2 || input.channels() != channels_) {
    throw Error(ErrorCode::kInvalidArgument, "norm: the layer takes " + std::to_string(channels_) +
                                                 " channels, the input is " + input.ToString())
        .AddFrame("layer " + name());
  }
  if (LayoutOf(input, input[0], 1).rows_per_sample * (channels_ / groups_) == 1) {
    throw Error(ErrorCode::kInvalidArgument,
                "norm: in an input of " + input.ToString() + " each of the " +
                    std::to_string(groups_) +
                    " groups of channels has a single element, whose normalized value is always 0; "
                    "use fewer groups (instance norm needs height and width)")
        .AddFrame("layer " + name());
  }
  return input;
}

void SampleNorm::StartStatistics(Pending& pending, StepContext& context) const {
  const int64_t samples = pending.x.shape()[0];
  pending.layout = LayoutOf(pending.x.shape(), samples, 1);
  const Shape statistics{samples, channels_};
  pending.mean = Tensor(statistics, DType::kFloat64);
  Tensor m2(statistics, DType::kFloat64);
  context.executor().Moments(pending.layout, pending.x, pending.mean, m2);

  const int64_t size = channels_ / groups_;
  const double elements = static_cast<double>(pending.layout.rows_per_sample);
  for (int64_t i = 0; i < samples * groups_; ++i) {
    MergeChannels(size, elements, pending.mean.Data<double>() + i * size,
                  m2.Data<double>() + i * size);
  }
  pending.counts = Tensor({samples}, DType::kFloat64);
  std::fill_n(pending.counts.Data<double>(), samples, elements * static_cast<double>(size));
  pending.inv_std = InverseStd(m2, pending.counts);
}

void SampleNorm::FinishInputTerms(const Sums& sums, const comm::Reducer::Handle& handle,
                                  const Tensor& message, StepContext& context) const {
  const int64_t size = channels_ / groups_;
  const double* dy = sums.dy.Data<double>();
  const double* dy_xhat = sums.dy_xhat.Data<double>();
  const double* counts = sums.counts.Data<double>();
  for (int64_t i = 0; i < sums.layout.segments * groups_; ++i) {
    const int64_t begin = i * size;
    double a = 0, b = 0;
    for (int64_t j = begin; j < begin + size; ++j) {
      const double gamma = sums.gamma[static_cast<size_t>(j % channels_)];
      a += gamma * dy[j];
      b += gamma * dy_xhat[j];
    }
    const double count = counts[i / groups_];
    std::fill_n(sums.a.Data<double>() + begin, size, a / count);
    std::fill_n(sums.b.Data<double>() + begin, size, b / count);
  }
}

}  // namespace syncbn::nn
