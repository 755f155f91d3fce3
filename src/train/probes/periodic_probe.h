// A probe that looks at every so many steps and at the last.
#pragma once

#include <cstdint>

#include "train/probe.h"

namespace syncbn::train {

class PeriodicProbe : public Probe {
 public:
  bool IsDue(int64_t step, bool last) const override {
    return last || EndsInterval(step, every_steps_);
  }

 protected:
  explicit PeriodicProbe(int64_t every_steps) : every_steps_(every_steps) {}

 private:
  const int64_t every_steps_;
};

}  // namespace syncbn::train
