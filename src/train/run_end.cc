#include "train/run_end.h"

#include <algorithm>

#include "base/text.h"
#include "base/unknown_value.h"

namespace syncbn::train {

const char* RunEndName(RunEnd end) {
  switch (end) {
    case RunEnd::kStopped:
      return "stopped";
    case RunEnd::kDiverged:
      return "diverged";
    case RunEnd::kStorage:
      return "storage";
    case RunEnd::kFinished:
      return "finished";
  }
  ThrowUnknownValue("end of a run", static_cast<int>(end));
}

std::optional<std::string> TooManySkipped(const v1::SkipSpec& most, int64_t steps, int64_t in_a_row,
                                          int64_t in_all) {
  if (in_a_row > most.in_a_row()) {
    return (in_a_row == 1 ? "a step was" : Plural(in_a_row, "step") + " in a row were") +
           " not finite (train.max_skipped.in_a_row is " + std::to_string(most.in_a_row()) + ")";
  }
  const int64_t most_in_all = most.has_in_all() ? most.in_all() : std::max<int64_t>(1, steps / 10);
  if (in_all > most_in_all) {
    return Plural(in_all, "step") + " of " + std::to_string(steps) +
           (in_all == 1 ? " was" : " were") + " not finite (train.max_skipped.in_all is " +
           std::to_string(most_in_all) + ")";
  }
  return std::nullopt;
}

}  // namespace syncbn::train
