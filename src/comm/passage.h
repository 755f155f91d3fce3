// A reduction's way between processes, for whoever watches a run (train/profile).
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "base/clock.h"
#include "comm/reducer.h"

namespace syncbn::comm {

struct Passage {
  std::string_view name;  // Reduction::name
  Group group;
  // From when this process gave its part to the exchange until it had the result.
  MonotonicTime begin, end;
  // What this process sent for it to others. Of a library's own all-reduce that is not known: 0.
  int64_t messages = 0, bytes = 0;
};

// Called on any thread. May be empty.
using OnPassage = std::function<void(const Passage& passage)>;

}  // namespace syncbn::comm
