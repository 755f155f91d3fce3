// How a run ends.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "syncbn/v1/run.pb.h"

namespace syncbn::train {

enum class RunEnd {
  kFinished,  // all its steps are done
  kStopped,   // asked to stop before that; a checkpoint was written, where any are
  kDiverged,  // too many steps, the state or the last evaluation were not finite
  kStorage,   // what it was to leave on disk could not be written: its last checkpoint, metrics, a
              // dump
};

// As summary.json says it: "finished", "stopped", "diverged" or "storage".
const char* RunEndName(RunEnd end);

// What is wrong when so many steps were skipped, `in_a_row` of them just now, of a run of so many
// `steps`: "11 steps in a row were not finite ...". Nothing while train.max_skipped allows it.
std::optional<std::string> TooManySkipped(const v1::SkipSpec& most, int64_t steps, int64_t in_a_row,
                                          int64_t in_all);

}  // namespace syncbn::train
