// The learning rate of every step: a pure function of the run file and the step's number, so that a
// resumed run, a replayed step and any number of processes see the same rate. Immutable and
// thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "syncbn/v1/run.pb.h"

namespace syncbn::train {

// Scaling: none: peak = base; linear: base * sgd_batch / reference_batch (Goyal et al. 2017); sqrt:
// base * sqrt(sgd_batch / reference_batch).
//
// Warm-up takes W = warmup_epochs * steps_per_epoch steps, rounded, and rises linearly, step by
// step, to the peak, which step W is the first to have. Where scaling raises the rate it starts at
// `base`, which is the rate of step 0; else it starts at 0, which is the rate of a step -1: a step
// at rate 0 would learn nothing.
//
// The schedule follows the warm-up. With p = (step - W) / (total_steps - W), which would be 1 only
// at the step after the last:
//   constant    peak
//   step        peak * gamma^(milestones reached); milestones are epochs from the start of the run,
//               and one inside the warm-up counts from its end
//   cosine      peak * (final + (1 - final) * (1 + cos(pi p)) / 2), Loshchilov and Hutter 2017
//   polynomial  peak * (final + (1 - final) * (1 - p)^power)
//   one_cycle   from peak / 25 up to the peak at p = rise, then down to peak * final, both by half
//               a cosine (Smith 2018); it rises by itself, so warmup_epochs must be 0
class LearningRate {
 public:
  // `spec` is validated and complete. steps_per_epoch and total_steps are those of the whole run,
  // whatever step it stops at. Throws INVALID_ARGUMENT for a warm-up together with one_cycle.
  LearningRate(const v1::LearningRateSpec& spec, int64_t sgd_batch, int64_t steps_per_epoch,
               int64_t total_steps);

  // The rate of a step, counted from 0 over the whole run. Steps past the end have p = 1.
  double At(int64_t step) const;

  double peak() const { return peak_; }
  int64_t warmup_steps() const { return warmup_steps_; }

 private:
  double Scheduled(int64_t step) const;

  v1::Schedule schedule_;
  double base_;
  double peak_;
  double gamma_, power_, final_, rise_;
  int64_t warmup_steps_;
  int64_t total_steps_;
  std::vector<int64_t> milestones_;  // steps
};

}  // namespace syncbn::train
