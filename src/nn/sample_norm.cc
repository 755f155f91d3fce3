#include "nn/sample_norm.h"

#include "base/check.h"

namespace syncbn::nn {
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
  backend::Executor& executor = context.executor();
  Tensor moments = executor.New({samples, backend::MomentsElements(channels_)}, DType::kFloat64);
  executor.Moments(pending.layout, pending.x, moments);
  executor.MergeChannels(groups_, moments);
  pending.Set(executor.FinishMoments(moments, {}, epsilon()));
}

backend::InputTerms SampleNorm::FinishInputTerms(const Sums& sums,
                                                 const comm::Reducer::Handle& handle,
                                                 const Tensor& message,
                                                 StepContext& context) const {
  return context.executor().GroupInputTerms(sums.dy, sums.dy_xhat, sums.counts, sums.gamma,
                                            groups_);
}

}  // namespace syncbn::nn
