// How a reducer moves data between processes, and how it leaves.
#include <algorithm>
#include <utility>

#include "comm/reducer_base.h"

namespace syncbn::comm {
namespace {

using std::chrono::nanoseconds;

// Tokens of landings that are not data of a reduction; those count from 0.
constexpr uint64_t kControlToken = ~uint64_t{0};
constexpr uint64_t kDiscardToken = kControlToken - 1;

Landing Discard(size_t body_bytes) {
  auto memory = std::make_shared<std::vector<std::byte>>(body_bytes);
  std::byte* const data = memory->data();
  return {.memory = data, .owner = std::move(memory), .token = kDiscardToken};
}

}  // namespace

MessageHead ReducerBase::HeadOf(const Op& op, MessageKind kind) const {
  const Group group = op.group->plan.group;
  return {.kind = kind,
          .group_begin = group.begin,
          .group_end = group.end,
          .sequence = op.sequence,
          .signature = op.signature};
}

void ReducerBase::Send(int rank, const MessageHead& head, std::span<const std::byte> body,
                       std::shared_ptr<void> keep_alive) {
  messages_.fetch_add(1, std::memory_order_relaxed);
  bytes_.fetch_add(static_cast<int64_t>(body.size()), std::memory_order_relaxed);
  communicator_->Send(rank, head.Bytes(), body, std::move(keep_alive));
}

Landing ReducerBase::OnHead(int from, std::span<const std::byte> bytes, size_t body_bytes) {
  watchdog_.Heard(from);
  const MessageHead head = MessageHead::Of(bytes);
  if (head.is_control()) {
    Landing landing = control_.OnHead(from, head, body_bytes);
    landing.token = kControlToken;
    return landing;
  }
  if (failure_.failed()) return Discard(body_bytes);
  std::shared_ptr<Op> op;
  int participant = 0;
  {
    std::lock_guard lock(mutex_);
    GroupState& state = StateOf(head.group());
    participant = state.plan.IndexOf(from);
    SYNCBN_CHECK_GE(participant, 0) << "rank " << from << " sends for " << Describe(head.group());
    op = OpAt(state, head.sequence);
  }
  std::optional<std::string> mismatch;
  {
    std::lock_guard lock(op->mutex);
    if (!op->started) {
      op->early.push_back(head.signature);
    } else if (!head.signature.Agrees(op->signature)) {
      mismatch = DescribeMismatch(head.signature, op->signature, head.group(), head.sequence);
    }
  }
  if (mismatch) {
    Fail({ErrorCode::kInternal, *mismatch});
    return Discard(body_bytes);
  }
  return OnData(op, participant, head, body_bytes);
}

void ReducerBase::OnBody(int from, const Landing& landing) {
  if (landing.token == kDiscardToken) return;
  if (landing.token == kControlToken) {
    control_.OnBody(from, landing);
    if (failure_.failed()) wait_room_.WakeAll();
    return;
  }
  const auto op = std::static_pointer_cast<Op>(landing.owner);
  OnDataBody(op, op->group->plan.IndexOf(from), landing.token);
}

bool ReducerBase::DriveTransport(Communicator::IfBusy if_busy) {
  bool any = false;
  try {
    any = communicator_->Progress(*this, if_busy);
    if (!failure_.failed()) any |= Advance();
  } catch (const Error& error) {
    Fail({error.code(), "rank " + std::to_string(communicator_->rank()) + ": " + error.message()});
  } catch (const std::exception& error) {
    Fail({ErrorCode::kInternal, "rank " + std::to_string(communicator_->rank()) +
                                    " while moving data: " + error.what()});
  }
  SpreadFailure();
  return any;
}

void ReducerBase::Progress() {
  if (NeedsDriving()) DriveTransport(Communicator::IfBusy::kReturn);
}

void ReducerBase::Report(int replica, int64_t step, std::string_view phase,
                         std::string_view layer) {
  watchdog_.board().Report(replica, step, phase, layer);
  wait_room_.OfferWheel();
}

ReducerCounters ReducerBase::counters() const {
  return {.reductions = reductions_.load(std::memory_order_relaxed),
          .messages = messages_.load(std::memory_order_relaxed),
          .bytes = bytes_.load(std::memory_order_relaxed),
          .wait_seconds =
              1e-9 * static_cast<double>(wait_nanoseconds_.load(std::memory_order_relaxed))};
}

void ReducerBase::HeartbeatLoop() {
  const nanoseconds interval = std::min(options_.heartbeat, watchdog_.period());
  std::unique_lock lock(heartbeat_mutex_);
  while (!stopping_) {
    lock.unlock();
    try {
      control_.SendHeartbeats();
    } catch (const Error& error) {
      Fail({error.code(), error.message()});
    }
    DriveTransport(Communicator::IfBusy::kWait);
    watchdog_.Observe();
    lock.lock();
    heartbeat_stop_.wait_for(lock, interval, [&] { return stopping_; });
  }
}

void ReducerBase::Shutdown() {
  if (!others()) return;
  {
    std::lock_guard lock(heartbeat_mutex_);
    stopping_ = true;
  }
  heartbeat_stop_.notify_all();
  heartbeat_.join();
  try {
    SpreadFailure();
    bool orderly = true;
    control_.SendHeartbeats();  // what others will be told was seen last
    control_.SendFinished();
    // After a failure others may be gone: they get a moment to take notice.
    const auto failed_limit = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    for (int polls = 1; orderly && (!control_.AllFinished() || communicator_->Sending()); ++polls) {
      if (DriveTransport(Communicator::IfBusy::kWait)) polls = 0;
      communicator_->Idle(polls);
      watchdog_.Observe();
      for (int rank = 0; rank < communicator_->size(); ++rank) {
        if (!watchdog_.finished(rank) && watchdog_.Silence(rank) > options_.stall_timeout) {
          orderly = false;
        }
      }
      if (failure_.failed() && std::chrono::steady_clock::now() > failed_limit) orderly = false;
    }
  } catch (const std::exception&) {
    // The transport has failed: there is nobody to wait for.
  }
}

}  // namespace syncbn::comm
