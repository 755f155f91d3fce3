// How the roots that the processes of a group hold become the root of the whole tree in every one of them:
// which values a process sends and receives in which round, and what it merges then. Pure functions of the
// group plan, so every process knows the sizes of all messages beforehand.
//
// Let p processes take part.
//
//   direct      everybody gives its roots to everybody else and finishes the tree itself: 1 round, p - 1
//               messages from each.
//   recursive   in round k a process gives all that it knows to another, and hears as much from one: from
//               the process whose number differs in bit k where p is a power of two, else from the one 2^k
//               places to its right (around the end). What it knows are the roots of the maximal subtrees
//               of the run of processes that it has heard of, which doubles with each round:
//               ceil(log2 p) rounds of one message. It holds one value where R and p are powers of two,
//               else at most 2 log2 R.
//
// Whoever evaluates a node, its value is that of the canonical tree: the same bits either way.
#pragma once

#include <vector>

#include "comm/group_plan.h"

namespace syncbn::comm {

struct ExchangeSchedule {
  // A message.
  struct Message {
    // Whom it goes to or comes from: index in the plan's participants.
    int peer = 0;
    // What is in it, one after the other.
    std::vector<int> values;
    // Received: it holds the contributions of participants [first, first + count), around the end.
    int first = 0, count = 0;
  };
  struct Round {
    // Each in order of peers.
    std::vector<Message> send, receive;
    // Afterwards.
    std::vector<MergeStep> steps;
  };

  // Values are numbered: the own roots come first_own, first_own + 1, ...
  int values = 0;
  int first_own = 0;
  std::vector<Round> rounds;
  // The value that is the root of the tree after the last round.
  int root = 0;
};

// Preconditions: at least two participants.
ExchangeSchedule DirectSchedule(const GroupPlan& plan);
ExchangeSchedule RecursiveSchedule(const GroupPlan& plan);

}  // namespace syncbn::comm
