// What each batch norm of a model gets: from the moments over all samples of a step.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "train/probes/periodic_probe.h"

namespace syncbn::train {

// With m the mean and s the standard deviation (biased: M2 / count) of a channel. A channel whose s
// is 0 counts in none of the ratios, and all are NaN where no other is left.
struct ChannelSpread {
  double mean_over_std = 0;          // mean over the channels of |m| / s
  double largest_mean_over_std = 0;  // what is lost in E[x^2] - E[x]^2 grows with its square
  double condition = 0;              // the largest s over the smallest
  int64_t constant_channels = 0;     // with s = 0
};

// Of a block [count, mean[C], m2[C]].
ChannelSpread SpreadOf(std::span<const double> block);

// Figures as v1::MomentsSpec names them, of every so many steps and of the last.
class MomentsProbe : public PeriodicProbe {
 public:
  // Throws INVALID_ARGUMENT where the name of a layer is too long for that of a figure.
  MomentsProbe(int64_t every_steps, const nn::RunningStatisticsLayout& layout);

  std::string_view name() const override { return "moments"; }
  NamedFigures Look(const ProbedStep& step) override;

 private:
};

}  // namespace syncbn::train
