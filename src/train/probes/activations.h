// Activations and their gradients, layer by layer: what tells whether signals vanish or explode
// with depth, and how many units are saturated.
//
// The gradient of an output y is the root mean square over its elements of d l / d y, l the sum of
// the losses of the step's samples (the mean over the SGD batch times the batch), so that it does
// not depend on the batch. Of two layers of the same width, the earlier one's over the later one's
// is the factor by which gradients grow (above 1) or vanish on the way between them.
//
// Cost: a forward and a backward pass a look.
#pragma once

#include <cstdint>
#include <string_view>

#include "train/probes/layer_meter.h"
#include "train/probes/periodic_probe.h"

namespace syncbn::train {

// Over all elements: of the moments of all channels, which have equally many.
struct MeanAndStd {
  double mean = 0;
  double std = 0;  // biased
};
MeanAndStd OverAllChannels(const OutputStatistics& output);

// Figures as v1::ActivationsSpec names them, of every so many steps and of the last.
class ActivationsProbe : public PeriodicProbe {
 public:
  // `unfused`: ProbedStep::watch_at's build of the model. Throws INVALID_ARGUMENT where the name of
  // a layer is too long for that of a figure.
  ActivationsProbe(int64_t every_steps, const nn::Model& unfused);

  std::string_view name() const override { return "activations"; }
  NamedFigures Look(const ProbedStep& step) override;

 private:
  const LayerMeter meter_;
};

}  // namespace syncbn::train
