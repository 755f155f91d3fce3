// The reducer of the promise on bits: contributions are combined in the canonical binary tree over the
// replicas of the group (reduction_tree.h).
//
// Inside a process. A contribution is merged with its sibling in the tree as soon as both are there, by
// the thread that brought the second one, and its memory is released: with a replicas running, a process
// holds O(a + log R) contributions. What is left are the roots of the maximal complete subtrees of the
// process's own run of replicas: one when R is a power of two and P divides it, else at most 2 log2(R/P).
//
// Between processes. Let p processes take part, S be the size of the message, r the number of roots a
// process holds (1 above).
//
//   small (S <= small_bytes): everybody sends its roots to everybody else, point to point, and finishes the
//   tree itself. 1 step; each process sends (p - 1) r S bytes. Latency is that of one message.
//
//   large: the message is cut into p ranges, each owned by one process.
//     1. everybody sends each owner its range of its own roots        r S (p - 1) / p
//     2. the owner finishes the tree for its range
//     3. the owner sends its range of the result to everybody else      S (p - 1) / p
//   2 steps; with r = 1 each process sends 2 S (p - 1) / p bytes, as much as a ring all-reduce, in
//   2 steps instead of 2 (p - 1).
//
// Who evaluates a node is a matter of traffic, its value is not: small or large, any P, any transport and
// any cut of a long message into several gives the same bits.
//
// Messages carry (group, number within the group), so groups that overlap or come in different orders on
// different processes do not disturb each other, and no global order of operations is needed.
#pragma once

#include "comm/reducer_base.h"

namespace syncbn::comm {

class TreeReducer : public ReducerBase {
 public:
  TreeReducer(Communicator& communicator, const ReducerOptions& options);
  ~TreeReducer() override;

 private:
  struct TreeOp;

  std::shared_ptr<Op> NewOp(const GroupPlan& plan) const override;
  void Contribute(const std::shared_ptr<Op>& op, int index, Tensor value) override;
  Landing OnData(const std::shared_ptr<Op>& op, int from, const MessageHead& head,
                 size_t body_bytes) override;
  void OnDataBody(const std::shared_ptr<Op>& op, int from, uint64_t token) override;
  bool Advance() override;
  bool HeardFrom(const Op& op, int participant) const override;

  bool IsSmall(const Op& op) const { return op.content.bytes() <= options().small_bytes; }
  // The own run of replicas is merged; what follows is up to other processes.
  void FinishLocally(const std::shared_ptr<TreeOp>& op);
  void SendRoots(const TreeOp& op);
  void SendRootRanges(const TreeOp& op);
  // All roots of the tree's parts are here.
  void FinishTree(const std::shared_ptr<TreeOp>& op);
  void FinishOwnRange(const std::shared_ptr<TreeOp>& op);

  // Operations for which everything has arrived, to be continued by Advance.
  std::mutex ready_mutex_;
  std::vector<std::shared_ptr<TreeOp>> ready_;
  std::atomic<bool> any_ready_{false};
};

}  // namespace syncbn::comm
