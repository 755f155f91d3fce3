#include "comm/nccl/nccl_communicator.h"

#include <thread>
#include <utility>

#include "base/error.h"

namespace syncbn::comm {
namespace {

using std::chrono::steady_clock;

// A look at what is in progress costs a lock; setting up connections takes milliseconds.
constexpr std::chrono::microseconds kPause{50};

}  // namespace

NcclCommunicator::NcclCommunicator(const Call& make, std::string what,
                                   std::chrono::nanoseconds timeout)
    : timeout_(timeout) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  std::unique_lock lock(mutex_);
  try {
    const ncclResult_t result = make(&comm_, &config);
    if (result != ncclInProgress) Check(result, what);
    if (comm_ == nullptr) return;
    if (!Settle(lock, what, timeout_)) {
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
                              std::chrono::nanoseconds timeout) {
  const auto limit = steady_clock::now() + timeout;
  while (!aborted_) {
    ncclResult_t state = ncclSuccess;
    Check(ncclCommGetAsyncError(comm_, &state), what);
    if (state != ncclInProgress) {
      Check(state, what);
      return true;
    }
    if (steady_clock::now() > limit) return false;
    lock.unlock();
    std::this_thread::sleep_for(kPause);
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
  // without hope is for the watchdog to say, which aborts.
  Settle(lock, what, std::chrono::hours(24 * 365));
}

std::unique_ptr<NcclCommunicator> NcclCommunicator::Split(int color, int key,
                                                          const std::string& what) {
  std::lock_guard lock(mutex_);
  return std::make_unique<NcclCommunicator>(
      [&](ncclComm_t* made, ncclConfig_t* config) {
        return ncclCommSplit(comm_, color, key, made, config);
      },
      what, timeout_);
}

void NcclCommunicator::CheckHealth() {
  std::lock_guard lock(mutex_);
  if (comm_ == nullptr || aborted_) return;
  ncclResult_t state = ncclSuccess;
  Check(ncclCommGetAsyncError(comm_, &state), "a communicator of all processes");
  if (state != ncclInProgress) Check(state, "what was launched");
}

void NcclCommunicator::Abort() {
  std::lock_guard lock(mutex_);
  if (comm_ == nullptr || std::exchange(aborted_, true)) return;
  ncclCommAbort(comm_);
}

}  // namespace syncbn::comm
