// How a group's tree is shared out among the processes that host its members. A pure function of the
// replica map, so every process knows everybody's part.
#pragma once

#include <vector>

#include "comm/reduction_tree.h"
#include "comm/replica_map.h"

namespace syncbn::comm {

struct GroupPlan {
  struct Participant {
    int rank = 0;
    // The members it hosts, counted from the group's start.
    Subtree members;
    // Its maximal subtrees: entries [first_subtree, first_subtree + subtrees) of `subtrees` below.
    int first_subtree = 0;
    int subtrees = 0;
  };

  Group group;
  // In order of rank, which is the order of members.
  std::vector<Participant> participants;
  // Of all participants, left to right.
  std::vector<Subtree> subtrees;
  // From the roots of `subtrees` to the root of the tree.
  std::vector<MergeStep> steps;
  // Index of this process in `participants`.
  int self = 0;

  const Participant& own() const { return participants[static_cast<size_t>(self)]; }
  // Index in `participants`; -1 when the process hosts no member.
  int IndexOf(int rank) const;
};

// Precondition: `rank` hosts at least one member.
GroupPlan MakeGroupPlan(const ReplicaMap& map, Group group, int rank);

}  // namespace syncbn::comm
