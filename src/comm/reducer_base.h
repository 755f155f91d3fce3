// What all reducers share: matching the contributions of replicas to operations, waiting, failing,
// watching. What is sent and who adds what is up to the derived class.
//
// Locks, outermost first: the transport's, then at most one of `mutex_` and an Op's. So nothing is sent
// while holding the latter two.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "comm/control_plane.h"
#include "comm/group_plan.h"
#include "comm/merge.h"
#include "comm/progress_board.h"
#include "comm/reducer_options.h"
#include "comm/wait_room.h"

namespace syncbn::comm {

class ReducerBase : public Reducer, private MessageHandler, private Drivable {
 public:
  // Collective when there are several processes (duplicates the communicator).
  ReducerBase(Communicator& communicator, const ReducerOptions& options);

  int replicas() const override { return map_.replicas(); }
  Handle Start(int replica, const Reduction& reduction) override;
  void Wait(const Handle& handle) override;
  void Progress() override;
  void Poison(int replica, std::string_view cause) override;
  void Report(int replica, int64_t step, std::string_view phase, std::string_view layer) override;
  ProgressBoard& board() override { return watchdog_.board(); }
  bool CheckWaits() override;
  [[noreturn]] void ThrowFailure() const override { failure_.Throw(); }
  ReducerCounters counters() const override;

 protected:
  struct GroupState;
  // One reduction of a group in this process.
  struct Op {
    virtual ~Op() = default;
    GroupState* group = nullptr;
    int64_t sequence = 0;
    std::atomic<bool> done{false};

    std::mutex mutex;  // guards what follows
    // Set by the first local contribution (`started`), constant from then on.
    bool started = false;
    Signature signature;
    Content content;
    std::vector<int64_t> channels;  // behind content.channels
    // What other processes said before that.
    std::vector<Signature> early;
    // By member of the group in this process.
    std::vector<Tensor> results;
    std::vector<char> arrived;
    // When somebody first and last looked whether it is stalled, in the watchdog's time.
    std::optional<std::chrono::nanoseconds> first_check, last_check;
  };
  struct GroupState {
    GroupPlan plan;
    Group local;  // the group's replicas in this process
    // Under the reducer's mutex_: the next number of each local replica; operations from `first` on.
    std::vector<int64_t> next;
    int64_t first = 0;
    struct Entry {
      std::shared_ptr<Op> op;
      bool over = false;
    };
    std::deque<Entry> ops;
  };

  // -- What a derived class does -----------------------------------------------------------------------
  virtual std::shared_ptr<Op> NewOp(const GroupPlan& plan) const = 0;
  // Adds the value of local member `index`; called by its replica's thread, without locks.
  virtual void Contribute(const std::shared_ptr<Op>& op, int index, Tensor value) = 0;
  // A message with data, as in MessageHandler; `from` is an index in the plan's participants. The
  // landing's owner must be the op.
  virtual Landing OnData(const std::shared_ptr<Op>& op, int from, const MessageHead& head,
                         size_t body_bytes) = 0;
  virtual void OnDataBody(const std::shared_ptr<Op>& op, int from, uint64_t token) = 0;
  // Does what messages have made possible, on the driving thread and without locks; returns whether
  // there was anything.
  virtual bool Advance() = 0;
  // Whether all that this participant sends first has been announced. Under op.mutex.
  virtual bool HeardFrom(const Op& op, int participant) const = 0;

  // -- What it is given --------------------------------------------------------------------------------
  Communicator& communicator() { return *communicator_; }
  const ReducerOptions& options() const { return options_; }
  MessageHead HeadOf(const Op& op, MessageKind kind) const;
  void Send(int rank, const MessageHead& head, std::span<const std::byte> body,
            std::shared_ptr<void> keep_alive);
  // Every local member has contributed and others are needed: from here on the op is driven.
  void ExpectOthers() { expecting_.fetch_add(1); }
  // Copies `value` to all results that are not there already and ends the operation.
  void Complete(const std::shared_ptr<Op>& op, const void* value, bool expected_others);
  // Makes every wait of every process fail.
  void Fail(FailureCause cause);
  // To be called last by the constructor and first by the destructor of the derived class: begins to tell
  // the other processes what happens here; leaves in good order.
  void Open();
  void Shutdown();

 private:
  class Ticket;

  Landing OnHead(int from, std::span<const std::byte> head, size_t body_bytes) override;
  void OnBody(int from, const Landing& landing) override;
  bool NeedsDriving() const override { return expecting_.load(std::memory_order_acquire) > 0; }
  bool Drive() override { return DriveTransport(Communicator::IfBusy::kWait); }
  void Idle(int polls) override { communicator_->Idle(polls); }

  bool DriveTransport(Communicator::IfBusy if_busy);
  void CheckReduction(int replica, const Reduction& reduction) const;
  // Under mutex_.
  GroupState& StateOf(Group group);
  std::shared_ptr<Op> OpAt(GroupState& state, int64_t sequence);
  // The first or a further local contribution: returns a mismatch.
  std::optional<std::string> Enter(Op& op, int index, const Signature& signature,
                                   const Reduction& reduction);
  void CheckForStall(Op& op);
  void FailIfHopeless(const WaitedFor& wait);
  // Tells the others of a failure that began here. Without locks.
  void SpreadFailure();
  void HeartbeatLoop();
  bool others() const { return communicator_->size() > 1; }

  const ReducerOptions options_;
  const ReplicaMap map_;
  std::unique_ptr<Communicator> communicator_;
  Failure failure_;
  // A failure of our own that the others do not know yet.
  std::atomic<bool> failure_to_spread_{false};
  Watchdog watchdog_;
  ControlPlane control_;
  WaitRoom wait_room_;
  // Of CheckWaits: since when somebody waits, in the watchdog's time.
  std::optional<std::chrono::nanoseconds> waiting_since_;
  // Operations that wait for other processes.
  std::atomic<int> expecting_{0};

  std::mutex mutex_;
  std::unordered_map<uint64_t, std::unique_ptr<GroupState>> groups_;

  std::atomic<int64_t> messages_{0}, bytes_{0}, reductions_{0}, wait_nanoseconds_{0};

  std::mutex heartbeat_mutex_;
  std::condition_variable heartbeat_stop_;
  bool stopping_ = false;
  std::thread heartbeat_;
};

// A reduction as one replica sees it.
class Reducer::Pending {
 public:
  virtual ~Pending() = default;
};

}  // namespace syncbn::comm
