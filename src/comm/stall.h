// A wait that will not end: for people a text, for programs what was waited for, who is missing, and where
// that one was last seen.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace syncbn::comm {

struct Stall {
  std::string message;
  // The operation, e.g. "layer2.0.bn1 backward".
  std::string waited_for;
  // Ascending, each once.
  std::vector<int> missing_ranks;
  // What the first of those who are missing was doing when it was last heard of, as base/activity.h names
  // it, and in which layer if in one.
  std::string activity;
  std::string layer;
};

// DEADLINE_EXCEEDED, with the facts.
class StallError : public Error {
 public:
  explicit StallError(Stall stall)
      : Error(ErrorCode::kDeadlineExceeded, stall.message), stall_(std::move(stall)) {}
  const Stall& stall() const { return stall_; }

 private:
  Stall stall_;
};

}  // namespace syncbn::comm
