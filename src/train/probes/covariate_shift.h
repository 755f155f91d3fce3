// How far a step of the layers before moves what a layer is asked to do, and what it sees: two
// readings of "internal covariate shift" that need not agree.
//
// The gradient's (Santurkar et al. 2018, "How Does Batch Normalization Help Optimization?",
// definition 2.1): G is the gradient of a layer's weights at w, G' the same on the same batch after
// all parameters before them, in the order in which the model has its layers, took a step w - rate
// g; |G - G'| and the cosine between the two. Of the first layer nothing comes before: 0 and 1.
//
// The distribution's (Ioffe and Szegedy 2015): of the outputs of layers with weights and of norms,
// on the same batch, before and after all parameters took that step. What an activation gets is the
// norm's output where there is one, else that of the layer with weights.
//
// Cost: for L layers with weights, L - 1 forward and backward passes and 2 forward ones a look.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "train/probes/layer_meter.h"
#include "train/probes/periodic_probe.h"

namespace syncbn::train {

// Over the channels that are not constant before and after: root mean squares of (mean after - mean
// before) / std before, and of log(std after / std before). NaN where there are none.
struct DistributionShift {
  double mean = 0;
  double log_std = 0;
};
DistributionShift ShiftOf(const OutputStatistics& before, const OutputStatistics& after);

// Figures as v1::CovariateShiftSpec names them, of every so many steps and of the last.
class CovariateShiftProbe : public PeriodicProbe {
 public:
  // `unfused`: ProbedStep::watch_at's build of the model. Throws INVALID_ARGUMENT where the name of
  // a layer is too long for that of a figure.
  CovariateShiftProbe(int64_t every_steps, const nn::Model& unfused);

  std::string_view name() const override { return "covariate_shift"; }
  NamedFigures Look(const ProbedStep& step) override;

 private:
  // A layer with weights.
  struct Weighted {
    std::string layer;
    std::vector<int> weights;  // parameters, ascending
  };

  static std::vector<Weighted> WeightedOf(const nn::Model& model);
  static std::vector<nn::LayerOutput> ShiftedOf(const nn::Model& model);
  void AddGradientShift(const ProbedStep& step, NamedFigures& figures) const;
  void AddDistributionShift(const ProbedStep& step, NamedFigures& figures) const;

  const std::vector<Weighted> weighted_;
  const LayerMeter meter_;
};

}  // namespace syncbn::train
