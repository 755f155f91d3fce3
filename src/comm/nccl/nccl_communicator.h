// A communicator of NCCL that no call of ours waits in: all of them return at once (blocking = 0),
// and what is still in progress is asked for, so that another thread can end it at any time.
#pragma once

#include <nccl.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>

namespace syncbn::comm {

// Thread-safe. One thread at a time may launch.
class NcclCommunicator {
 public:
  using Call = std::function<ncclResult_t(ncclComm_t* made, ncclConfig_t* config)>;

  // What make() makes, which is there at once and joins the others in progress; meanwhile it calls
  // listen() again and again, and gives up where that throws. Throws UNAVAILABLE with what NCCL
  // says, DEADLINE_EXCEEDED where that takes longer than the timeout. Errors name `what`.
  NcclCommunicator(const Call& make, std::string what, std::chrono::nanoseconds timeout,
                   const std::function<void()>& listen);
  // In good order (collective) within the timeout, else by Abort.
  ~NcclCommunicator();

  // The calls of a group, which work() makes; nothing after Abort. Returns when the host is free.
  // Throws UNAVAILABLE, naming `what`.
  void Launch(const std::function<ncclResult_t(ncclComm_t)>& work, const std::string& what);
  // Makes another of this one (ncclCommSplit); without a communicator for ranks of
  // NCCL_SPLIT_NOCOLOR. Collective.
  std::unique_ptr<NcclCommunicator> Split(int color, int key, const std::string& what);
  // Throws UNAVAILABLE where something that was launched has failed. Waits for nobody's launch.
  void CheckHealth();
  // Ends what was launched on any of them and is not done. May be called several times. All at
  // once, each on a thread of its own: what one waits for on the device, or a launch of it, may be
  // behind a kernel of another. Waits for the device, which may take as long as the other processes
  // need to do the same.
  static void Abort(std::span<const std::shared_ptr<NcclCommunicator>> communicators);

 private:
  explicit NcclCommunicator(std::chrono::nanoseconds timeout) : timeout_(timeout) {}
  // Under `lock`, which is given up meanwhile: until nothing is in progress, or Abort. False: it
  // takes too long. Calls meanwhile(), where there is one, without the lock.
  bool Settle(std::unique_lock<std::mutex>& lock, const std::string& what,
              std::chrono::nanoseconds timeout, const std::function<void()>& meanwhile = {});
  void Check(ncclResult_t result, const std::string& what) const;

  const std::chrono::nanoseconds timeout_;
  std::mutex mutex_;
  ncclComm_t comm_ = nullptr;
  bool aborted_ = false;
};

}  // namespace syncbn::comm
