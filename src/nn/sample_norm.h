// Normalizations within one sample: layer, instance and group normalization are one class.
//
// The C channels are cut into groups of consecutive channels; mean and variance are taken over the
// channels of a group and over height and width, for each sample. One group is layer normalization
// (Ba et al. 2016), C groups are instance normalization (Ulyanov et al. 2016), and what lies
// between is group normalization (Wu and He 2018). gamma and beta are [C]: for [N, features] that
// is PyTorch's LayerNorm(features); for images it is PyTorch's GroupNorm(1, C), one scale a
// channel, not LayerNorm([C, H, W]) with one scale an element.
//
// The same in training and in inference; never looks at another sample.
#pragma once

#include <string>

#include "nn/norm.h"

namespace syncbn::nn {

class SampleNorm : public Norm {
 public:
  // Precondition: groups divides channels.
  SampleNorm(std::string name, const Options& options, int64_t channels, int64_t groups);

  // Throws INVALID_ARGUMENT when the channels do not match, or when a group has a single element.
  Shape OutputShape(const Shape& input) const override;
  Description Describe() const override {
    return SampleNormOf{.gamma = options().gamma,
                        .beta = options().beta,
                        .epsilon = epsilon(),
                        .channels = channels_,
                        .groups = groups_};
  }

 protected:
  void StartStatistics(Pending& pending, StepContext& context) const override;
  void FinishStatistics(Pending& pending, StepContext& context) const override {}
  backend::InputTerms FinishInputTerms(const Sums& sums, const comm::Reducer::Handle& handle,
                                       const Tensor& message, StepContext& context) const override;

 private:
  const int64_t channels_, groups_;
};

}  // namespace syncbn::nn
