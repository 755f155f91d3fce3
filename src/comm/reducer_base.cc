#include "comm/reducer_base.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "base/host.h"

namespace syncbn::comm {

using std::chrono::nanoseconds;

class ReducerBase::Ticket : public Reducer::Pending {
 public:
  Ticket(std::shared_ptr<Op> op, int replica) : op(std::move(op)), replica(replica) {}
  const std::shared_ptr<Op> op;
  const int replica;
};

ReducerBase::ReducerBase(Communicator& communicator, const ReducerOptions& options)
    : options_(options),
      map_(options.replicas, communicator.size()),
      communicator_(communicator.Duplicate()),
      watchdog_(map_, communicator.rank(), HostName(), options.stall_timeout, *options.clock),
      control_(*communicator_, map_, watchdog_, failure_),
      wait_room_(*this, communicator.size() > 1) {}

void ReducerBase::Open() {
  if (others()) heartbeat_ = std::thread([this] { HeartbeatLoop(); });
}

// -- Starting ----------------------------------------------------------------------------------------

void ReducerBase::CheckReduction(int replica, const Reduction& reduction) const {
  const Group group = reduction.group;
  SYNCBN_CHECK(0 <= group.begin && group.end <= replicas() && group.begin <= replica &&
               replica < group.end)
      << "replica " << replica << " reduces in " << Describe(group) << " of " << replicas();
  SYNCBN_CHECK(reduction.contribution.defined()) << reduction.name;
  if (reduction.result.defined()) {
    SYNCBN_CHECK_EQ(reduction.result.elements(), reduction.contribution.elements()) << reduction.name;
    SYNCBN_CHECK_EQ(reduction.result.dtype(), reduction.contribution.dtype()) << reduction.name;
  }
  CheckContent({.operation = reduction.operation,
                .dtype = reduction.contribution.dtype(),
                .elements = reduction.contribution.elements(),
                .channels = reduction.channels});
}

Reducer::Handle ReducerBase::Start(int replica, const Reduction& reduction) {
  if (failure_.failed()) {
    failure_.Throw("starting '" + std::string(reduction.name) + "' of " + Describe(reduction.group) +
                   ", replica " + std::to_string(replica) + ", rank " +
                   std::to_string(communicator_->rank()));
  }
  CheckReduction(replica, reduction);
  // What this thread left behind earlier may need a driver while it computes on.
  wait_room_.OfferWheel();
  const Signature signature = Signature::Of(replica, communicator_->rank(), reduction);
  std::shared_ptr<Op> op;
  int index = 0;
  {
    std::lock_guard lock(mutex_);
    GroupState& state = StateOf(reduction.group);
    index = replica - state.local.begin;
    op = OpAt(state, state.next[static_cast<size_t>(index)]++);
  }
  watchdog_.board().Contribute(replica);
  if (const std::optional<std::string> mismatch = Enter(*op, index, signature, reduction)) {
    Fail({ErrorCode::kInternal, *mismatch});
    SpreadFailure();
    failure_.Throw();
  }
  Contribute(op, index, reduction.contribution);
  return std::make_shared<Ticket>(std::move(op), replica);
}

ReducerBase::GroupState& ReducerBase::StateOf(Group group) {
  const uint64_t key = static_cast<uint64_t>(group.begin) << 32 | static_cast<uint32_t>(group.end);
  std::unique_ptr<GroupState>& state = groups_[key];
  if (!state) {
    auto made = std::make_unique<GroupState>();
    made->plan = MakeGroupPlan(map_, group, communicator_->rank());
    const Subtree members = made->plan.own().members;
    made->local = {group.begin + members.begin, group.begin + members.end};
    made->next.assign(static_cast<size_t>(made->local.size()), 0);
    state = std::move(made);
  }
  return *state;
}

std::shared_ptr<ReducerBase::Op> ReducerBase::OpAt(GroupState& state, int64_t sequence) {
  SYNCBN_CHECK_GE(sequence, state.first) << "a message of a reduction that is over";
  const auto index = static_cast<size_t>(sequence - state.first);
  if (index >= state.ops.size()) state.ops.resize(index + 1);
  std::shared_ptr<Op>& op = state.ops[index].op;
  if (!op) {
    op = NewOp(state.plan);
    op->group = &state;
    op->sequence = sequence;
    op->results.resize(static_cast<size_t>(state.local.size()));
    op->arrived.assign(static_cast<size_t>(state.local.size()), 0);
  }
  return op;
}

std::optional<std::string> ReducerBase::Enter(Op& op, int index, const Signature& signature,
                                              const Reduction& reduction) {
  std::lock_guard lock(op.mutex);
  if (!op.started) {
    op.started = true;
    op.signature = signature;
    // The caller's channels live until its own Wait returns, the op may live longer.
    op.channels.assign(reduction.channels.begin(), reduction.channels.end());
    op.content = {.operation = reduction.operation,
                  .dtype = signature.dtype,
                  .elements = signature.elements,
                  .channels = op.channels};
    for (const Signature& early : op.early) {
      if (!early.Agrees(signature)) {
        return DescribeMismatch(early, signature, op.group->plan.group, op.sequence);
      }
    }
    op.early.clear();
  } else if (!signature.Agrees(op.signature)) {
    return DescribeMismatch(signature, op.signature, op.group->plan.group, op.sequence);
  }
  op.results[static_cast<size_t>(index)] = reduction.result;
  op.arrived[static_cast<size_t>(index)] = 1;
  return std::nullopt;
}

// -- Ending ------------------------------------------------------------------------------------------

void ReducerBase::Complete(const std::shared_ptr<Op>& op, const void* value, bool expected_others) {
  const size_t bytes = op->content.bytes();
  for (Tensor& result : op->results) {
    if (result.defined() && bytes > 0 && result.Bytes().data() != value) {
      std::memcpy(result.Bytes().data(), value, bytes);
    }
    result = Tensor();
  }
  {
    std::lock_guard lock(mutex_);
    GroupState& state = *op->group;
    auto& entry = state.ops[static_cast<size_t>(op->sequence - state.first)];
    entry = {.op = nullptr, .over = true};
    while (!state.ops.empty() && state.ops.front().over) {
      state.ops.pop_front();
      ++state.first;
    }
  }
  reductions_.fetch_add(1, std::memory_order_relaxed);
  if (expected_others) expecting_.fetch_sub(1);
  op->done.store(true, std::memory_order_release);
  wait_room_.WakeWaitersFor(op->done);
}

void ReducerBase::Wait(const Handle& handle) {
  const auto& ticket = static_cast<const Ticket&>(*handle);
  Op& op = *ticket.op;
  if (op.done.load(std::memory_order_acquire) && !failure_.failed()) return;
  const auto begin = std::chrono::steady_clock::now();
  const Group group = op.group->plan.group;
  ProgressBoard& board = watchdog_.board();
  // op.signature is constant since Start.
  board.EnterWait(ticket.replica, op.signature.Name(), group, op.sequence);
  const auto check = [&] { CheckForStall(op); };
  wait_room_.Wait(op.done, failure_.flag(), watchdog_.period(), std::ref(check));
  board.LeaveWait(ticket.replica);
  wait_nanoseconds_.fetch_add(
      std::chrono::duration_cast<nanoseconds>(std::chrono::steady_clock::now() - begin).count(),
      std::memory_order_relaxed);
  if (failure_.failed()) {
    failure_.Throw("waiting for " + op.signature.Describe() + ", reduction " +
                   std::to_string(op.sequence) + " of " + Describe(group) + ", replica " +
                   std::to_string(ticket.replica) + ", rank " +
                   std::to_string(communicator_->rank()));
  }
}

void ReducerBase::CheckForStall(Op& op) {
  const nanoseconds now = watchdog_.Observe();
  const GroupPlan& plan = op.group->plan;
  WaitedFor wait{.what = op.signature.Describe() + ", reduction " + std::to_string(op.sequence) +
                         " of " + Describe(plan.group),
                 .name = std::string(op.signature.Name())};
  const auto add_participant = [&](const GroupPlan::Participant& participant, bool all) {
    const size_t before = wait.missing.size();
    for (int member = participant.members.begin; member < participant.members.end; ++member) {
      const int replica = plan.group.begin + member;
      // Who waits for the same thing has given its part.
      if (all || !watchdog_.board().Read(replica).WaitsFor(plan.group, op.sequence)) {
        wait.missing.push_back(replica);
      }
    }
    return wait.missing.size() > before;
  };
  {
    std::lock_guard lock(op.mutex);
    // Once for all who wait for it.
    if (op.last_check == now) return;
    op.last_check = now;
    if (!op.first_check) op.first_check = now;
    wait.since = *op.first_check;
    for (size_t i = 0; i < op.arrived.size(); ++i) {
      if (!op.arrived[i]) wait.missing.push_back(op.group->local.begin + static_cast<int>(i));
    }
    for (int p = 0; p < static_cast<int>(plan.participants.size()); ++p) {
      const auto& participant = plan.participants[static_cast<size_t>(p)];
      if (p == plan.self || HeardFrom(op, p)) continue;
      if (!add_participant(participant, false)) add_participant(participant, true);
    }
  }
  if (wait.missing.empty()) {
    // Everything is announced and something does not arrive: any of the others may be the cause.
    for (int p = 0; p < static_cast<int>(plan.participants.size()); ++p) {
      if (p != plan.self) add_participant(plan.participants[static_cast<size_t>(p)], true);
    }
  }
  FailIfHopeless(wait);
}

bool ReducerBase::CheckWaits() {
  const nanoseconds now = watchdog_.Observe();
  const std::string name = "replicas of rank " + std::to_string(communicator_->rank());
  WaitedFor wait{.what = "the " + name, .name = name};
  const Group local = map_.OfProcess(communicator_->rank());
  bool any = false;
  for (int replica = local.begin; replica < local.end; ++replica) {
    const Activity activity = watchdog_.board().Read(replica).activity;
    any |= activity == Activity::kTurn || activity == Activity::kData;
    // Who waits for a reduction judges for himself, and knows better whom he misses.
    if (activity != Activity::kReduction) wait.missing.push_back(replica);
  }
  if (!any) {
    waiting_since_.reset();
  } else {
    if (!waiting_since_) waiting_since_ = now;
    wait.since = *waiting_since_;
    if (!failure_.failed()) FailIfHopeless(wait);
  }
  return failure_.failed();
}

void ReducerBase::FailIfHopeless(const WaitedFor& wait) {
  if (std::optional<Stall> stall = watchdog_.Judge(wait)) {
    Fail(FailureCause::Of(*std::move(stall)));
    SpreadFailure();
  }
}

// -- Failing -----------------------------------------------------------------------------------------

void ReducerBase::Fail(FailureCause cause) {
  if (failure_.Set(std::move(cause))) failure_to_spread_.store(true);
  wait_room_.WakeAll();
}

void ReducerBase::SpreadFailure() {
  if (!others() || !failure_to_spread_.exchange(false)) return;
  try {
    control_.SpreadFailure(failure_.cause());
  } catch (const std::exception&) {
    // The transport is what failed: its error is known here, and the others lose this process.
  }
}

void ReducerBase::Poison(int replica, std::string_view cause) {
  Fail({ErrorCode::kAborted, "replica " + std::to_string(replica) + " (rank " +
                                 std::to_string(communicator_->rank()) + " on " +
                                 watchdog_.host() + ") failed: " + std::string(cause)});
  SpreadFailure();
}

}  // namespace syncbn::comm
