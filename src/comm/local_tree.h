// The part of a group's tree that lies inside a process: contributions are merged with their siblings as
// soon as both are there, by the thread that brings the second one, and their memory is released. With a
// replicas running, a process holds O(a + log R) contributions. What is left are the roots of the maximal
// subtrees of the process's own run of members.
#pragma once

#include <mutex>
#include <vector>

#include "backend/merge_stream.h"
#include "comm/group_plan.h"
#include "comm/merge.h"

namespace syncbn::comm {

class LocalTree {
 public:
  // Both must outlive this.
  LocalTree(const GroupPlan& plan, backend::MergeStream& stream);

  // Adds the value of a member of this process, counted from the group's start; it is given away. Returns
  // whether all are there now: true once. Thread-safe.
  bool Add(const Content& content, int member, Tensor value);
  // The value of plan.own()'s i-th subtree. Precondition: Add has returned true.
  Tensor TakeRoot(int i);

 private:
  // The subtree that begins at a member and ends before `end`; end is 0 where there is none.
  struct Slot {
    Tensor value;
    int end = 0;
  };
  Slot& SlotAt(int member) { return slots_[static_cast<size_t>(member - plan_.own().members.begin)]; }

  const GroupPlan& plan_;
  backend::MergeStream& stream_;
  std::mutex mutex_;
  std::vector<Slot> slots_;  // by member of this process
  int open_;                 // maximal subtrees that are not complete
};

}  // namespace syncbn::comm
