// What happens to a reduction, from Start to Wait. In this order, which is that of reducer_base.cc:
//
//   Start      matches the contributions of this process's replicas: the n-th of a group is operation n.
//   Combine    the contributions of the process become its part (derived class), on the merge stream of
//              their device, behind the events that they carry.
//   Launch     the part is given to the exchange, in the order that it needs (launch_order.h). A group
//              inside of one process is complete without.
//   Continue   what the others gave has come: merge it, and launch the next round or complete (derived).
//   Complete   the value is copied to all who want it, and who waits is woken and given the event of that.
//   Wait       sleeps until then. Waiting threads drive the transport (progress_engine.h) and judge from
//              time to time whether the wait has an end (reducer_failure.cc). The last drives on until
//              what its process gives has left it.
//
// Launch happens on the thread that brought the last that it waited for, Continue on the one that drives or,
// when nothing was missing, on that same thread.
//
// Locks, outermost first: the transport's, then at most one of `mutex_` and an Op's, then the exchange's.
// Nothing is sent while one of them is held. (departure_mutex_ is around all of them, and nobody waits
// for it.)
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

#include "backend/merge_stream.h"
#include "comm/control_plane.h"
#include "comm/device_words.h"
#include "comm/group_state.h"
#include "comm/message_exchange.h"
#include "comm/outstanding.h"
#include "comm/progress_board.h"
#include "comm/progress_engine.h"
#include "comm/reducer_options.h"
#include "comm/roll_call.h"

namespace syncbn::comm {

class ReducerBase : public Reducer, private MessageHandler, private ProgressWork {
 public:
  // Collective when there are several processes (duplicates the communicator).
  ReducerBase(Communicator& communicator, const ReducerOptions& options);

  int replicas() const override { return map_.replicas(); }
  Handle Start(int replica, const Reduction& reduction) override;
  backend::Event Wait(const Handle& handle) override;
  void Progress() override;
  void Poison(int replica, std::string_view cause) override;
  void Report(int replica, int64_t step, std::string_view phase, std::string_view layer) override;
  ProgressBoard& board() override { return watchdog_.board(); }
  bool CheckWaits() override;
  bool failed() const override { return failure_.failed(); }
  void Confirm() override;
  [[noreturn]] void ThrowFailure() const override { failure_.Throw(); }
  ReducerCounters counters() const override;

 protected:
  using Op = ReductionOp;
  // How the contribution of a participant stands in this process.
  enum class Contribution {
    kHere,     // it has come, or has begun to
    kOwed,     // its process is to send it here
    kRelayed,  // it is to come through another
  };

  // -- What a derived class does -----------------------------------------------------------------------
  virtual std::shared_ptr<Op> NewOp(const GroupState& group) const = 0;
  // Adds the value of local member `index`; called by its replica's thread, without locks. Returns whether
  // the process's part is complete: true once.
  virtual bool Combine(Op& op, int index, Tensor value) = 0;
  // The combined part, which is the result in a group inside of one process.
  virtual Tensor TakePart(Op& op) = 0;
  // Launches its first round; returns whether that is complete already.
  virtual bool Launch(const std::shared_ptr<Op>& op) = 0;
  // The round that was launched last is complete. Either sets op.all_launched when there are no further ones.
  virtual void Continue(const std::shared_ptr<Op>& op) = 0;
  // Does what is possible beside; returns whether there was anything.
  virtual bool Poll() { return false; }
  // By participant. Under op.mutex.
  virtual std::vector<Contribution> Contributions(const Op& op) const = 0;

  // -- What it is given --------------------------------------------------------------------------------
  Communicator& communicator() { return *communicator_; }
  Exchange& exchange() { return *exchange_; }
  const Exchange& exchange() const { return *exchange_; }
  const ReducerOptions& options() const { return options_; }
  // Copies `value` to all results that are not there already and ends the operation.
  void Complete(const std::shared_ptr<Op>& op, const Tensor& value);
  // Where contributions of this process are merged.
  backend::MergeStream& stream() const { return *stream_; }
  // Where blocks of the exchange live and are merged: the same, or the host.
  backend::MergeStream& place() const { return exchange_->in_stream_order() ? *stream_ : *host_; }
  // What is given to the exchange: `part`, or a copy where it takes memory of the host and that
  // lives elsewhere. Sleeps until that is there.
  Tensor ForExchange(Tensor part) const;
  // To be called last by the constructor and first by the destructor of the derived class: begins to tell
  // the other processes what happens here; leaves in good order.
  void Open();
  void Shutdown();

 private:
  // -- From Start to Wait ------------------------------------------------------------------------------
  void CheckReduction(int replica, const Reduction& reduction) const;
  // Under mutex_.
  GroupState& StateOf(Group group);
  std::shared_ptr<Op> OpAt(GroupState& state, int64_t sequence);
  // The first or a further local contribution: returns a mismatch.
  std::optional<std::string> Enter(const std::shared_ptr<Op>& op, int index, const Signature& signature,
                                   const Reduction& reduction);
  LaunchQueue& QueueOf(GroupState& state) { return order_ ? launches_ : state.launches; }
  // Launches its first round, whatever the exchange is; returns whether that is complete already.
  bool GiveToExchange(const std::shared_ptr<Op>& op);
  // Launches what has its turn, after adding what has been combined, if anything.
  void LaunchDue(LaunchQueue& queue, std::shared_ptr<Op> combined = nullptr);

  // -- Failing and stalling ----------------------------------------------------------------------------
  // Makes every wait of every process fail.
  void Fail(FailureCause cause);
  // Wakes who waits, and tells the other processes if it began here. Without locks.
  void SpreadFailure();
  void CheckForStall(Op& op);
  // The same for what a device does, by what was seen when somebody looked last.
  void JudgeDevice();
  // Looks at what it has done, and at the health of the exchange: calls of libraries, which may not
  // return as long as it stands. So a thread of its own makes them, and the one that tells others
  // that this process lives, and judges and ends waits, none.
  void LookAtDevice();
  // The replicas without whom it is not done: those that have not given it their part, or all of
  // its group where each has.
  std::vector<int> MissingOnDevice(const Outstanding::Entry& entry, bool* all_have_given);
  void FailIfHopeless(const WaitedFor& wait);

  // -- Progress ----------------------------------------------------------------------------------------
  ReceiveBuffer OnHead(int from, std::span<const std::byte> head, size_t body_bytes) override;
  void OnBody(int from, const ReceiveBuffer& buffer) override;
  bool NeedsProgress() const override {
    return expecting_.load(std::memory_order_acquire) > 0 || (roll_call_ && roll_call_->open());
  }
  bool MakeProgress() override { return Drive(Communicator::IfBusy::kWait); }
  void Idle(int polls) override { communicator_->Idle(polls); }
  bool Drive(Communicator::IfBusy if_busy);
  // Drives on until what this process gives to others has left it, but for no longer than a
  // heartbeat: it is about to compute, perhaps for a whole step, and others would wait for the rest
  // as long. Not where another reduction is on its way: who waits for that drives then, and a layer
  // that has its statistics is not to wait until a bucket of gradients has left.
  void LetDepart();
  void HeartbeatLoop();
  void DeviceLoop();
  void FinishWhatWasStarted();
  void Leave();
  bool others() const { return communicator_->size() > 1; }

  const ReducerOptions options_;
  const std::unique_ptr<backend::MergeStream> stream_, host_;
  const ReplicaMap map_;
  std::unique_ptr<Communicator> communicator_;
  Failure failure_;
  Watchdog watchdog_;
  ControlPlane control_;
  MessageExchange messages_;
  const std::unique_ptr<Exchange> own_exchange_;  // null: messages_
  Exchange* const exchange_;
  // Where the exchange has one order and no signatures.
  std::optional<RollCall> roll_call_;
  Outstanding outstanding_;
  DeviceWords device_words_;
  // When a look at the device ended last, in nanoseconds of the watchdog's time.
  std::atomic<int64_t> looked_at_{0};
  ProgressEngine engine_;
  // Of CheckWaits: since when somebody waits, in the watchdog's time.
  std::optional<std::chrono::nanoseconds> waiting_since_;
  // Operations that wait for other processes.
  std::atomic<int> expecting_{0};
  // Of LetDepart: one thread is enough.
  std::mutex departure_mutex_;
  bool departure_is_held_up_ = false;

  std::mutex mutex_;
  std::unordered_map<uint64_t, std::unique_ptr<GroupState>> groups_;
  // Where the exchange needs one order.
  std::optional<ProgramOrder> order_;
  LaunchQueue launches_;

  std::atomic<int64_t> reductions_{0};

  std::mutex heartbeat_mutex_;
  std::condition_variable heartbeat_stop_;
  bool stopping_ = false;
  std::thread heartbeat_;
  std::thread device_;  // where the exchange moves in stream order
};

}  // namespace syncbn::comm
