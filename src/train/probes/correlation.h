// How far the features of a layer are correlated: whether a norm whitens them, or only scales each.
//
// Two passes, so that nothing cancels: the first has each channel's mean and standard deviation
// over all replicas; in the second every replica sums x_i x_j of the standardized channels, in the
// type of the back end's matrix products, and the sums of the replicas are added in the canonical
// tree. The correlation is the sum over the root of those of x_i^2 and x_j^2. Of float32 it is good
// to about 1e-5; of N samples of independent channels it is about sqrt(2 / (pi N)), not 0.
//
// Cost: 2 forward passes a look, and C^2 numbers of memory and message for each layer of C
// channels; layers of more than kMostCorrelatedChannels have no figure.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "train/probes/layer_meter.h"
#include "train/probes/periodic_probe.h"

namespace syncbn::train {

inline constexpr int64_t kMostCorrelatedChannels = 2048;

// Mean over the pairs of different channels of |p_ij| / sqrt(p_ii p_jj) of the products p, [C, C];
// channels with p_ii = 0 are in no pair. NaN where there is none.
double MeanOffDiagonal(std::span<const double> products, int64_t channels);

// Figures as v1::CorrelationSpec names them, of every so many steps and of the last.
class CorrelationProbe : public PeriodicProbe {
 public:
  // `unfused`: ProbedStep::watch_at's build of the model. Throws INVALID_ARGUMENT where the name of
  // a layer is too long for that of a figure.
  CorrelationProbe(int64_t every_steps, const nn::Model& unfused);

  std::string_view name() const override { return "correlation"; }
  NamedFigures Look(const ProbedStep& step) override;

 private:
  const LayerMeter meter_;
};

}  // namespace syncbn::train
