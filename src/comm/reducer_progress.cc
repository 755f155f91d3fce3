// How a reducer makes its transport progress, tells the other processes that it lives, and leaves.
#include <algorithm>
#include <utility>

#include "comm/reducer_base.h"

namespace syncbn::comm {
namespace {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;

// Tokens of buffers that are not the exchange's; those count from 0.
constexpr uint64_t kControlToken = ~uint64_t{0};
constexpr uint64_t kDiscardToken = kControlToken - 1;

ReceiveBuffer Discard(size_t body_bytes) {
  auto memory = std::make_shared<std::vector<std::byte>>(body_bytes);
  std::byte* const data = memory->data();
  return {.memory = data, .owner = std::move(memory), .token = kDiscardToken};
}

}  // namespace

// -- Messages: each to its plane -----------------------------------------------------------------------

ReceiveBuffer ReducerBase::OnHead(int from, std::span<const std::byte> bytes, size_t body_bytes) {
  watchdog_.Heard(from);
  const MessageHead head = MessageHead::Of(bytes);
  if (head.is_control()) {
    ReceiveBuffer buffer = control_.OnHead(from, head, body_bytes);
    buffer.token = kControlToken;
    return buffer;
  }
  if (failure_.failed()) return Discard(body_bytes);
  if (head.kind == MessageKind::kRollCall) {
    SYNCBN_CHECK(roll_call_.has_value()) << "rank " << from << " exchanges data in another way";
    roll_call_->Hear(from, head);
    return Discard(body_bytes);
  }
  if (head.kind == MessageKind::kDeviceWord) {
    device_words_.Hear(from, head);
    return Discard(body_bytes);
  }
  return messages_.OnHead(from, head, body_bytes);
}

void ReducerBase::OnBody(int from, const ReceiveBuffer& buffer) {
  if (buffer.token == kDiscardToken) return;
  if (buffer.token == kControlToken) return control_.OnBody(from, buffer);
  messages_.OnBody(buffer);
}

bool ReducerBase::Drive(Communicator::IfBusy if_busy) {
  bool any = false;
  try {
    any = communicator_->Progress(*this, if_busy);
    if (!failure_.failed()) {
      // The arithmetic happens here, when the transport is free again.
      for (const std::shared_ptr<void>& op : exchange_->Completed()) {
        Continue(std::static_pointer_cast<Op>(op));
        if (order_) LaunchDue(launches_);
        any = true;
      }
      any |= Poll();
    }
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
  if (NeedsProgress()) Drive(Communicator::IfBusy::kReturn);
}

void ReducerBase::LetDepart() {
  if (!others() || NeedsProgress() || failure_.failed()) return;
  const std::unique_lock alone(departure_mutex_, std::try_to_lock);
  if (!alone.owns_lock()) return;
  try {
    if (!communicator_->Sending()) {
      departure_is_held_up_ = false;
      return;
    }
    // A receiver that stands still is no reason to, and is not waited for again: heartbeats drive.
    if (departure_is_held_up_) return;
    const auto limit = steady_clock::now() + std::min(options_.heartbeat, watchdog_.period());
    int polls = 1;
    while (communicator_->Sending() && !NeedsProgress() && !failure_.failed()) {
      if (steady_clock::now() >= limit) {
        departure_is_held_up_ = true;
        return;
      }
      if (Drive(Communicator::IfBusy::kReturn)) polls = 0;
      communicator_->Idle(++polls);
    }
  } catch (const Error& error) {
    Fail({error.code(), "rank " + std::to_string(communicator_->rank()) + ": " + error.message()});
    SpreadFailure();
  }
}

// -- Living --------------------------------------------------------------------------------------------

void ReducerBase::Report(int replica, int64_t step, std::string_view phase,
                         std::string_view layer) {
  watchdog_.board().Report(replica, step, phase, layer);
  engine_.WakeDriver();
}

void ReducerBase::Open() {
  if (!others()) return;
  heartbeat_ = std::thread([this] { HeartbeatLoop(); });
  if (!exchange_->in_stream_order()) return;
  looked_at_ = watchdog_.Observe().count();
  device_ = std::thread([this] { DeviceLoop(); });
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
    Drive(Communicator::IfBusy::kWait);
    watchdog_.Observe();
    if (exchange_->in_stream_order()) JudgeDevice();
    lock.lock();
    heartbeat_stop_.wait_for(lock, interval, [&] { return stopping_; });
  }
}

void ReducerBase::DeviceLoop() {
  const nanoseconds interval = std::min(options_.heartbeat, watchdog_.period());
  std::unique_lock lock(heartbeat_mutex_);
  while (!stopping_) {
    lock.unlock();
    LookAtDevice();
    lock.lock();
    heartbeat_stop_.wait_for(lock, interval, [&] { return stopping_; });
  }
}

// -- Leaving -------------------------------------------------------------------------------------------

void ReducerBase::Shutdown() {
  if (others()) {
    FinishWhatWasStarted();
    {
      std::lock_guard lock(heartbeat_mutex_);
      stopping_ = true;
    }
    heartbeat_stop_.notify_all();
    heartbeat_.join();
    if (device_.joinable()) device_.join();
    Leave();
  }
  // After a failure: an operation and its series hold each other.
  for (const auto& [key, state] : groups_) {
    for (const GroupState::Entry& entry : state->ops) {
      if (entry.op) entry.op->series.reset();
    }
  }
}

void ReducerBase::FinishWhatWasStarted() {
  // Nobody here waits for it any more, others may: parts of theirs pass through this process. For what is
  // still missing after a stall timeout they will not have waited either.
  const auto limit = steady_clock::now() + options_.stall_timeout;
  for (int polls = 1; NeedsProgress() && !failure_.failed() && !control_.AllFinished() &&
                      steady_clock::now() < limit;
       ++polls) {
    if (Drive(Communicator::IfBusy::kWait)) polls = 0;
    communicator_->Idle(polls);
  }
}

void ReducerBase::Leave() {
  try {
    SpreadFailure();
    bool orderly = true;
    control_.SendHeartbeats();  // what others will be told was seen last
    control_.SendFinished();
    // After a failure others may be gone: they get a moment to take notice.
    const auto failed_limit = steady_clock::now() + std::chrono::seconds(2);
    for (int polls = 1; orderly && (!control_.AllFinished() || communicator_->Sending()); ++polls) {
      if (Drive(Communicator::IfBusy::kWait)) polls = 0;
      communicator_->Idle(polls);
      watchdog_.Observe();
      for (int rank = 0; rank < communicator_->size(); ++rank) {
        if (!watchdog_.finished(rank) && watchdog_.Silence(rank) > options_.stall_timeout) {
          orderly = false;
        }
      }
      if (failure_.failed() && steady_clock::now() > failed_limit) orderly = false;
    }
  } catch (const std::exception&) {
    // The transport has failed: there is nobody to wait for.
  }
}

}  // namespace syncbn::comm
