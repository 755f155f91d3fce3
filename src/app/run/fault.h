// Faults made on purpose, so that tests see what a run does about them.
//
//   --fault kill@step=5,replica=3               SIGKILL to the process of replica 3 in step 5
//   --fault stall@step=5,replica=3,layer=bn1    replica 3 never returns from layer bn1
//   --fault throw@step=5,replica=3              replica 3 fails
//   --fault nan@step=5,replica=3                its images hold a NaN
#pragma once

#include <cstdint>
#include <string>

#include "data/batch_maker.h"
#include "nn/step_context.h"

namespace syncbn::app {

struct Fault {
  enum class Kind { kNone, kKill, kStall, kThrow, kNan };
  Kind kind = Kind::kNone;
  int64_t step = 0;
  int replica = 0;
  // Strikes when this layer's forward pass is done; empty: before the first.
  std::string layer;

  // Throws INVALID_ARGUMENT with the forms that are known.
  static Fault Parse(const std::string& text);

  void OnBatch(int64_t at_step, int at_replica, data::Batch& batch) const;
  // An observer that strikes in this replica's step; empty elsewhere.
  nn::TensorObserver Observe(int64_t at_step, int at_replica) const;

 private:
  void Strike() const;
};

}  // namespace syncbn::app
