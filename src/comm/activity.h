// What a process is doing in its reductions, for whoever watches a run from outside.
#pragma once

#include <cstdint>
#include <string>

#include "comm/reducer.h"

namespace syncbn::comm {

// Of the replica of this process that is furthest behind.
struct Activity {
  int64_t step = -1;
  // "forward", "backward", ...
  std::string phase;
  // Reductions it has entered since the start; equal for all replicas that are in step.
  int64_t reductions = 0;
  // What it waits for, or the layer it computes.
  std::string where;
  // Signs of life of all replicas of the process: grows with everything they do.
  int64_t progress = 0;
};

// What reducers that can tell implement.
class ActivitySource {
 public:
  virtual ~ActivitySource() = default;
  // Thread-safe.
  virtual Activity ReadActivity() const = 0;
};

// Of a reducer that cannot tell: nothing.
inline Activity ActivityOf(const Reducer& reducer) {
  const auto* source = dynamic_cast<const ActivitySource*>(&reducer);
  return source == nullptr ? Activity() : source->ReadActivity();
}

}  // namespace syncbn::comm
