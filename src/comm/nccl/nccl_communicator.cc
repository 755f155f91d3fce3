#include "comm/nccl/nccl_communicator.h"

#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/error.h"

namespace syncbn::comm {
namespace {

using std::chrono::steady_clock;

// NCCL launches on a thread of its own, which takes some microseconds; where connections are set
// up, milliseconds.
constexpr int kPollsWithoutSleep = 1000;
constexpr std::chrono::microseconds kPause{50};

}  // namespace

NcclCommunicator::NcclCommunicator(const Call& make, std::string what,
                                   std::chrono::nanoseconds timeout,
                                   const std::function<void()>& listen)
    : timeout_(timeout) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  std::unique_lock lock(mutex_);
  try {
    const ncclResult_t result = make(&comm_, &config);
    if (result != ncclInProgress) Check(result, what);
    SYNCBN_CHECK(comm_ != nullptr) << what;
    if (!Settle(lock, what, timeout_, listen)) {
      throw Error(
          ErrorCode::kDeadlineExceeded,
          "NCCL: " + what + ": the other processes have not come within " +
              std::to_string(std::chrono::duration_cast<std::chrono::seconds>(timeout_).count()) +
              " s; NCCL_DEBUG=INFO makes NCCL say what it tries");
    }
  } catch (...) {
    if (comm_ != nullptr) ncclCommAbort(comm_);
    throw;
  }
}

NcclCommunicator::~NcclCommunicator() {
  std::unique_lock lock(mutex_);
  if (comm_ == nullptr || aborted_) return;
  try {
    const ncclResult_t result = ncclCommFinalize(comm_);
    if ((result == ncclSuccess || result == ncclInProgress) &&
        Settle(lock, "ncclCommFinalize", timeout_) && !aborted_) {
      ncclCommDestroy(comm_);
      return;
    }
  } catch (const std::exception&) {
    // It has failed meanwhile: nobody is left who could be told.
  }
  if (!aborted_) ncclCommAbort(comm_);
}

void NcclCommunicator::Check(ncclResult_t result, const std::string& what) const {
  if (result == ncclSuccess) return;
  std::string text = "NCCL: " + what + ": " + ncclGetErrorString(result);
  if (const char* const last = ncclGetLastError(comm_); last != nullptr && *last != '\0') {
    text += std::string(" (") + last + ")";
  }
  const bool ours = result == ncclInvalidArgument || result == ncclInvalidUsage;
  throw Error(ours ? ErrorCode::kInternal : ErrorCode::kUnavailable, std::move(text));
}

bool NcclCommunicator::Settle(std::unique_lock<std::mutex>& lock, const std::string& what,
                              std::chrono::nanoseconds timeout,
                              const std::function<void()>& meanwhile) {
  const auto limit = steady_clock::now() + timeout;
  for (int polls = 0; !aborted_; ++polls) {
    ncclResult_t state = ncclSuccess;
    Check(ncclCommGetAsyncError(comm_, &state), what);
    if (state != ncclInProgress) {
      Check(state, what);
      return true;
    }
    if (steady_clock::now() > limit) return false;
    lock.unlock();
    if (meanwhile) meanwhile();
    if (polls < kPollsWithoutSleep) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(kPause);
    }
    lock.lock();
  }
  return true;
}

void NcclCommunicator::Launch(const std::function<ncclResult_t(ncclComm_t)>& work,
                              const std::string& what) {
  std::unique_lock lock(mutex_);
  if (aborted_) return;
  Check(ncclGroupStart(), what);
  const ncclResult_t given = work(comm_);
  const ncclResult_t ended = ncclGroupEnd();
  // The first cause, which ncclGroupEnd repeats.
  if (given != ncclInProgress) Check(given, what);
  if (ended != ncclInProgress) return Check(ended, what);
  // The first time that two processes meet they connect. However long the others take: who waits
  // without hope is for the watchdog to say, which knows of this as of what the device was given,
  // and aborts.
  Settle(lock, what, std::chrono::hours(24 * 365));
}

std::unique_ptr<NcclCommunicator> NcclCommunicator::Split(int color, int key,
                                                          const std::string& what) {
  std::unique_ptr<NcclCommunicator> part(new NcclCommunicator(timeout_));
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  const auto late = [&] {
    return Error(ErrorCode::kDeadlineExceeded,
                 "NCCL: " + what + ": the other processes have not come");
  };
  try {
    // What is in progress is the parent's; the new one is there, or stays null, when that has
    // settled.
    std::unique_lock lock(mutex_);
    const ncclResult_t result = ncclCommSplit(comm_, color, key, &part->comm_, &config);
    if (result != ncclInProgress) Check(result, what);
    if (!Settle(lock, what, timeout_)) throw late();
  } catch (...) {
    part.release();  // a thread of NCCL may still write to it
    throw;
  }
  std::unique_lock lock(part->mutex_);
  if (part->comm_ != nullptr && !part->Settle(lock, what, timeout_)) throw late();
  lock.unlock();
  return part;
}

void NcclCommunicator::CheckHealth() {
  // Who launches, and may wait for the device in that, sees for himself.
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || comm_ == nullptr || aborted_) return;
  ncclResult_t state = ncclSuccess;
  Check(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError");
  if (state != ncclInProgress) Check(state, "what was launched");
}

void NcclCommunicator::Abort(std::span<const std::shared_ptr<NcclCommunicator>> communicators) {
  std::vector<std::jthread> threads;
  for (const std::shared_ptr<NcclCommunicator>& one : communicators) {
    threads.emplace_back([one] {
      std::lock_guard lock(one->mutex_);
      if (one->comm_ == nullptr || std::exchange(one->aborted_, true)) return;
      ncclCommAbort(one->comm_);
    });
  }
}

}  // namespace syncbn::comm
