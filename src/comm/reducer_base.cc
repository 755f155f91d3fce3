#include "comm/reducer_base.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "backend/host_merge_stream.h"
#include "base/host.h"

namespace syncbn::comm {

namespace {

std::unique_ptr<backend::MergeStream> StreamOf(const backend::Backend* backend) {
  return backend != nullptr ? backend->MakeMergeStream() : backend::MakeHostMergeStream();
}

}  // namespace

ReducerBase::ReducerBase(Communicator& communicator, const ReducerOptions& options)
    : options_(options),
      stream_(StreamOf(options.backend)),
      host_(backend::MakeHostMergeStream()),
      map_(options.replicas, communicator.size()),
      communicator_(communicator.Duplicate()),
      watchdog_(map_, communicator.rank(), HostName(), options.stall_timeout, *options.clock),
      control_(*communicator_, map_, watchdog_, failure_),
      messages_(*communicator_, failure_),
      own_exchange_(options.make_exchange && others()
                        ? options.make_exchange(*communicator_, *stream_)
                        : nullptr),
      exchange_(own_exchange_ ? own_exchange_.get() : &messages_),
      device_words_(*communicator_),
      engine_(*this, communicator.size() > 1) {
  if (exchange_->order() == Exchange::Order::kOfProcess) {
    order_.emplace(map_.OfProcess(communicator_->rank()));
    launches_.one_by_one = true;
    roll_call_.emplace(*communicator_, failure_);
  }
}

// -- Start -------------------------------------------------------------------------------------------

Reducer::Handle ReducerBase::Start(int replica, const Reduction& reduction) {
  const auto throw_failure = [&] {
    failure_.Throw("starting '" + std::string(reduction.name) + "' of " + Describe(reduction.group) +
                   ", replica " + std::to_string(replica) + ", rank " +
                   std::to_string(communicator_->rank()));
  };
  if (failure_.failed()) throw_failure();
  CheckReduction(replica, reduction);
  // What this thread left behind earlier may need a driver while it computes on.
  engine_.WakeDriver();
  Signature signature = Signature::Of(replica, communicator_->rank(), reduction);
  std::shared_ptr<Op> op;
  int index = 0;
  std::optional<std::string> mismatch;
  {
    std::lock_guard lock(mutex_);
    GroupState& state = StateOf(reduction.group);
    index = replica - state.local.begin;
    op = OpAt(state, state.next[static_cast<size_t>(index)]++);
    if (order_) mismatch = order_->Start(replica, op, reduction.name);
    signature.place = op->place;
  }
  watchdog_.board().Contribute(replica);
  if (!mismatch) mismatch = Enter(op, index, signature, reduction);
  if (mismatch) Fail({ErrorCode::kInternal, *std::move(mismatch)});
  if (failure_.failed()) {
    SpreadFailure();
    throw_failure();
  }
  stream_->WaitFor(reduction.ready);
  const bool combined = Combine(*op, index, reduction.contribution);
  if (combined && op->group->crosses_processes()) {
    LaunchDue(QueueOf(*op->group), op);
  } else {
    if (combined) Complete(op, TakePart(*op));
    // What was combined earlier may have waited for this replica to reach its place.
    if (order_) LaunchDue(launches_);
  }
  return {std::move(op), replica};
}

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

GroupState& ReducerBase::StateOf(Group group) {
  const uint64_t key = static_cast<uint64_t>(group.begin) << 32 | static_cast<uint32_t>(group.end);
  std::unique_ptr<GroupState>& state = groups_[key];
  if (!state) {
    auto made = std::make_unique<GroupState>();
    made->plan = MakeGroupPlan(map_, group, communicator_->rank());
    const Subtree members = made->plan.own().members;
    made->local = {group.begin + members.begin, group.begin + members.end};
    made->next.assign(static_cast<size_t>(made->local.size()), 0);
    if (made->crosses_processes()) {
      made->direct = DirectSchedule(made->plan);
      made->whole_is_direct =
          options_.GoesDirectly(made->plan.participants.size(), exchange_->in_stream_order());
      made->whole = made->whole_is_direct ? made->direct : RecursiveSchedule(made->plan);
    }
    state = std::move(made);
  }
  return *state;
}

std::shared_ptr<ReducerBase::Op> ReducerBase::OpAt(GroupState& state, int64_t sequence) {
  const auto index = static_cast<size_t>(sequence - state.first);
  if (index >= state.ops.size()) state.ops.resize(index + 1);
  std::shared_ptr<Op>& op = state.ops[index].op;
  if (!op) {
    op = NewOp(state);
    op->group = &state;
    op->sequence = sequence;
    if (!order_) op->launch_number = sequence;
    op->results.resize(static_cast<size_t>(state.local.size()));
    op->arrived.assign(static_cast<size_t>(state.local.size()), 0);
  }
  return op;
}

std::optional<std::string> ReducerBase::Enter(const std::shared_ptr<Op>& op, int index,
                                              const Signature& signature,
                                              const Reduction& reduction) {
  std::lock_guard lock(op->mutex);
  const Group group = op->group->plan.group;
  if (!op->started) {
    op->started = true;
    op->signature = signature;
    // The caller's channels live until its own Wait returns, the op may live longer.
    op->channels.assign(reduction.channels.begin(), reduction.channels.end());
    op->content = {.operation = reduction.operation,
                   .dtype = signature.dtype,
                   .elements = signature.elements,
                   .channels = op->channels};
    if (op->group->crosses_processes()) {
      op->series = exchange_->Open({group, op->sequence}, signature, op);
    }
  } else if (!signature.Agrees(op->signature)) {
    return DescribeMismatch(signature, op->signature, group, op->sequence);
  }
  op->results[static_cast<size_t>(index)] = reduction.result;
  op->arrived[static_cast<size_t>(index)] = 1;
  return std::nullopt;
}

// -- Launch ------------------------------------------------------------------------------------------

void ReducerBase::LaunchDue(LaunchQueue& queue, std::shared_ptr<Op> combined) {
  if (combined) expecting_.fetch_add(1);
  std::vector<std::shared_ptr<Op>> complete;
  do {
    complete.clear();
    std::unique_lock lock(mutex_);
    if (combined) queue.combined.push_back(std::exchange(combined, nullptr));
    // Whoever launches takes along what becomes due meanwhile.
    if (queue.launching) return;
    queue.launching = true;
    while (std::shared_ptr<Op> next = queue.TakeDue()) {
      lock.unlock();
      try {
        if (GiveToExchange(next)) complete.push_back(std::move(next));
      } catch (...) {
        lock.lock();
        queue.launching = false;
        throw;
      }
      lock.lock();
    }
    queue.launching = false;
    lock.unlock();
    for (const std::shared_ptr<Op>& next : complete) Continue(next);
    // With one order, the next operation may have waited for the later rounds of these.
  } while (queue.one_by_one && !complete.empty());
}

bool ReducerBase::GiveToExchange(const std::shared_ptr<Op>& op) {
  if (options_.on_passage) op->launched = options_.clock->Monotonic();
  if (roll_call_) roll_call_->Call(op->signature, op->sequence, op->group->plan);
  if (!exchange_->in_stream_order()) return Launch(op);
  outstanding_.Begin({.group = op->group,
                      .signature = op->signature,
                      .sequence = op->sequence,
                      .place = op->place,
                      .before = stream_->Record(),
                      .done = {},
                      .since = {}});
  return WithFrame(
      [&] {
        return op->signature.Describe() + ", reduction " + std::to_string(op->sequence) + " of " +
               Describe(op->group->plan.group) + "; rank " + std::to_string(communicator_->rank()) +
               ": " +
               watchdog_.board().Read(map_.OfProcess(communicator_->rank()).begin).Describe();
      },
      [&] { return Launch(op); });
}

// -- Complete ----------------------------------------------------------------------------------------

Tensor ReducerBase::ForExchange(Tensor part) const {
  if (&part.device() == &place().device()) return part;
  Tensor copy = stream_->NewOnHost(part.shape(), part.dtype());
  stream_->Copy(part, copy);
  stream_->Record().WaitOnHost();
  return copy;
}

void ReducerBase::Complete(const std::shared_ptr<Op>& op, const Tensor& value) {
  // Before copies, which may stop the host until the device has come there.
  if (exchange_->in_stream_order() && op->group->crosses_processes()) {
    outstanding_.Given(op->group, op->sequence, stream_->Record());
  }
  for (Tensor& result : op->results) {
    const auto is_there = [&] {
      return &result.device() == &value.device() && result.DeviceAddress() == value.DeviceAddress();
    };
    if (result.defined() && value.elements() > 0 && !is_there()) stream_->Copy(value, result);
    result = Tensor();
  }
  op->ready = stream_->Record();
  std::shared_ptr<Exchange::Series> series;
  {
    std::lock_guard lock(op->mutex);
    series = std::move(op->series);
  }
  if (series) {
    exchange_->Close(*series);
    if (options_.on_passage) {
      const Exchange::Counters sent = series->sent();
      options_.on_passage({.name = op->signature.Name(),
                           .group = op->group->plan.group,
                           .begin = op->launched,
                           .end = options_.clock->Monotonic(),
                           .messages = sent.messages,
                           .bytes = sent.bytes});
    }
  }
  GroupState& state = *op->group;
  {
    std::lock_guard lock(mutex_);
    state.ops[static_cast<size_t>(op->sequence - state.first)] = {.op = nullptr, .over = true};
    while (!state.ops.empty() && state.ops.front().over) {
      state.ops.pop_front();
      ++state.first;
    }
  }
  reductions_.fetch_add(1, std::memory_order_relaxed);
  if (series) expecting_.fetch_sub(1);
  op->done.store(true, std::memory_order_release);
  engine_.WakeWaitersFor(op->done);
}

// -- Wait --------------------------------------------------------------------------------------------

backend::Event ReducerBase::Wait(const Handle& handle) {
  Op& op = *static_cast<Op*>(handle.reduction.get());
  const Group group = op.group->plan.group;
  if (op.done.load(std::memory_order_acquire) && !failure_.failed()) {
    LetDepart();
  } else {
    ProgressBoard& board = watchdog_.board();
    // op.signature is constant since Start.
    board.EnterWait(handle.replica, op.signature.Name(), group, op.sequence);
    const auto check = [&] { CheckForStall(op); };
    engine_.Wait(op.done, failure_.flag(), watchdog_.period(), std::ref(check));
    LetDepart();
    board.LeaveWait(handle.replica);
  }
  if (failure_.failed()) {
    failure_.Throw("waiting for " + op.signature.Describe() + ", reduction " +
                   std::to_string(op.sequence) + " of " + Describe(group) + ", replica " +
                   std::to_string(handle.replica) + ", rank " +
                   std::to_string(communicator_->rank()));
  }
  return op.ready;
}

ReducerCounters ReducerBase::counters() const {
  const Exchange::Counters sent = exchange_->counters();
  return {.reductions = reductions_.load(std::memory_order_relaxed),
          .messages = sent.messages,
          .bytes = sent.bytes};
}

}  // namespace syncbn::comm
