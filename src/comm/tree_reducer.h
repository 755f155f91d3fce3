// The reducer of the promise on bits: contributions are combined in the canonical binary tree over the
// replicas of the group (reduction_tree.h).
//
// Inside a process: local_tree.h. What is left are the roots of the maximal subtrees of the process's own
// run of replicas: one when R is a power of two and P divides it, else at most 2 log2(R/P).
//
// Between processes. Let p processes take part, S be the size of the message, r the number of roots a
// process holds (1 above).
//
//   small (S <= small_bytes): values travel whole (exchange_schedule.h), and everybody finishes the tree
//   itself.
//     p <= direct_processes   directly: 1 step, p - 1 messages and (p - 1) r S bytes from each process
//     else                    recursively: ceil(log2 p) steps of one message; S bytes in each where R and p
//                             are powers of two
//
//   large: the message is cut into p ranges, each owned by one process.
//     1. all-to-all: everybody sends each owner its range of its own roots      r S (p - 1) / p
//     2. the owner finishes the tree for its range
//     3. all-gather: the owner sends its range of the result to everybody else    S (p - 1) / p
//   2 steps; with r = 1 each process sends 2 S (p - 1) / p bytes, as much as a ring all-reduce, in
//   2 steps instead of 2 (p - 1).
//
// Who evaluates a node is a matter of traffic, its value is not: small or large, any P, any exchange and
// any cut of a long message into several gives the same bits.
#pragma once

#include "comm/reducer_base.h"

namespace syncbn::comm {

class TreeReducer : public ReducerBase {
 public:
  TreeReducer(Communicator& communicator, const ReducerOptions& options);
  ~TreeReducer() override;

 private:
  struct TreeOp;

  std::shared_ptr<Op> NewOp(const GroupState& group) const override;
  bool Combine(Op& op, int index, Tensor value) override;
  Tensor TakePart(Op& op) override;
  bool Launch(const std::shared_ptr<Op>& op) override;
  void Continue(const std::shared_ptr<Op>& op) override;
  std::vector<Contribution> Contributions(const Op& op) const override;

  bool IsSmall(const Op& op) const { return options().IsSmall(op.content.bytes()); }
  const ExchangeSchedule& ScheduleOf(const Op& op) const;
  int LastRound(const Op& op) const;

  // Launches round op.round; returns whether it is complete already.
  bool LaunchRound(TreeOp& op);
  // Small: a round of values, and what follows when it is complete.
  bool LaunchWhole(TreeOp& op);
  void MergeWhole(TreeOp& op);
  // Large: the owners' ranges of the roots, then the ranges of the result.
  bool LaunchRootRanges(TreeOp& op);
  void MergeOwnRange(TreeOp& op);
  bool LaunchResultRanges(TreeOp& op);
  static std::vector<Exchange::Incoming> ResultRanges(const TreeOp& op);
};

}  // namespace syncbn::comm
