// `reduction: native`: the contributions of a process are combined in the order of its replicas,
// and the rest is the library's all-reduce (MPI_Allreduce, moments by an operation of our own).
// Bits may depend on the number of processes: this is what the tree is measured against.
//
// Operations of a group are launched in the order of their numbers, as the library demands. Every
// process also gives its signature to the group's first one, so that replicas that are out of step
// are named here too. Where the exchange moves in stream order, it has the all-reduce, which is
// over once it is launched, and the signatures are compared as for every exchange of that kind
// (roll_call.h).
#pragma once

#include "comm/native_collectives.h"
#include "comm/reducer_base.h"

namespace syncbn::comm {

class NativeReducer : public ReducerBase {
 public:
  // Throws UNIMPLEMENTED when there are several processes and the transport has no all-reduce.
  NativeReducer(Communicator& communicator, const ReducerOptions& options);
  ~NativeReducer() override;

 private:
  struct NativeOp;

  std::shared_ptr<Op> NewOp(const GroupState& group) const override;
  bool Combine(Op& op, int index, Tensor value) override;
  Tensor TakePart(Op& op) override;
  bool Launch(const std::shared_ptr<Op>& op) override;
  void Continue(const std::shared_ptr<Op>& op) override;
  bool Poll() override;
  std::vector<Contribution> Contributions(const Op& op) const override;

  // Whether the all-reduce is done. Under running_mutex_.
  bool Test(NativeOp& op);
  // Index of the group among the prepared ones. Throws UNIMPLEMENTED.
  size_t IndexOf(Group group) const;

  std::unique_ptr<NativeCollectives> native_;
  // Those that cross processes, in the order of the rank sets of native_; each has a communicator of its own,
  // since nothing orders the operations of different groups.
  std::vector<Group> native_groups_;
  std::mutex running_mutex_;  // outside the transport's lock
  std::vector<std::shared_ptr<NativeOp>> running_;
  std::optional<std::chrono::steady_clock::time_point> failing_since_;
};

}  // namespace syncbn::comm
