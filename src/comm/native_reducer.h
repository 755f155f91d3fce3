// `reduction: native`: the contributions of a process are combined in the order of its replicas, and the
// rest is the library's all-reduce (MPI_Allreduce, moments by an operation of our own). Bits may depend
// on the number of processes: this is what the tree is measured against.
//
// All-reduces of a group are started in the order of their numbers, whatever the order in which they
// become complete inside the process, as the library demands. Every process also sends its signature to
// the group's first one, so that replicas that are out of step are named here too.
#pragma once

#include <map>

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
  // The all-reduces of one group that crosses processes; each has a communicator of its own, since
  // nothing orders the operations of different groups.
  struct Queue {
    Group group;
    int64_t next = 0;
    std::map<int64_t, std::shared_ptr<NativeOp>> waiting;
  };

  std::shared_ptr<Op> NewOp(const GroupPlan& plan) const override;
  void Contribute(const std::shared_ptr<Op>& op, int index, Tensor value) override;
  Landing OnData(const std::shared_ptr<Op>& op, int from, const MessageHead& head,
                 size_t body_bytes) override;
  void OnDataBody(const std::shared_ptr<Op>& op, int from, uint64_t token) override;
  bool Advance() override;
  bool HeardFrom(const Op& op, int participant) const override;

  void FinishLocally(const std::shared_ptr<NativeOp>& op);
  // Whether the all-reduce is done. Under queues_mutex_.
  bool Test(NativeOp& op);
  // Index of the group among the prepared ones. Throws UNIMPLEMENTED.
  size_t QueueOf(Group group) const;

  std::unique_ptr<NativeCollectives> native_;
  std::mutex queues_mutex_;  // outside the transport's lock
  std::vector<Queue> queues_;  // by index of the rank set in native_
  std::vector<std::shared_ptr<NativeOp>> running_;
  std::optional<std::chrono::steady_clock::time_point> failing_since_;
};

}  // namespace syncbn::comm
