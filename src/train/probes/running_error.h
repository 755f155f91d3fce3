// How far running averages, with which inference normalizes, are from the statistics of the
// population at the present weights, which they follow late: an early gap that closes as the
// learning rate decays.
//
// Both are of the step's parameters: the averages are those before the step, which its own
// statistics have not moved. Those of the population are PreciseBN's
// (Evaluator::PreciseStatistics), over so many training samples as they are trained on, normalized
// by batch statistics as in training, without dropout.
//
// Cost: a forward pass over the samples a look.
#pragma once

#include <span>
#include <string_view>

#include "syncbn/v1/probes.pb.h"
#include "train/probes/periodic_probe.h"

namespace syncbn::train {

// Root mean squares over the channels whose variance in the population is not 0: of (running mean -
// mean) / std, and of log(running variance / variance). NaN where there are none.
struct RunningError {
  double mean = 0;
  double log_variance = 0;
};
// Blocks [mean[C], variance[C], ...] of nn::RunningStatisticsLayout.
RunningError RunningErrorOf(int64_t channels, std::span<const double> running,
                            std::span<const double> population);

// Figures as v1::RunningErrorSpec names them, of every so many steps and of the last.
class RunningErrorProbe : public PeriodicProbe {
 public:
  // Throws INVALID_ARGUMENT where the name of a layer is too long for that of a figure.
  RunningErrorProbe(const v1::RunningErrorSpec& spec, const nn::RunningStatisticsLayout& layout);

  std::string_view name() const override { return "running_error"; }
  bool IsDue(int64_t step, bool last) const override {
    return tracked_ && PeriodicProbe::IsDue(step, last);
  }
  NamedFigures Look(const ProbedStep& step) override;

 private:
  const v1::RunningErrorSpec spec_;
  // Whether any layer keeps running averages.
  bool tracked_ = false;
};

}  // namespace syncbn::train
