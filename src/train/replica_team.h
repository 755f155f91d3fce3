// The replica threads of one process.
//
// A replica is an ordinary training loop on a thread of its own: the team runs the same function for
// every replica of this process, each on the thread that is its for the whole run (with one replica, on
// the caller's own thread: the plain MPI program). The caller sleeps until all are done, and looks after them
// now and then.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace syncbn::train {

class ReplicaTeam {
 public:
  // Called once with the first failure of a Run, from the failing thread, before the others have
  // ended: the place to release those who wait for it.
  using OnFailure = std::function<void(int replica, const std::exception& failure)>;

  // Called about every `look_every` while a Run of several replicas is under way, on the caller's thread, with
  // the first failure if there is one: nobody else would notice that they wait for ever, or that one never
  // comes back. Must not throw.
  using OnLook = std::function<void(std::exception_ptr failure)>;
  struct Options {
    int first_replica = 0;
    int count = 1;
    OnFailure on_failure;
    OnLook on_look;
    std::chrono::nanoseconds look_every = std::chrono::seconds(1);
  };

  // Throws RESOURCE_EXHAUSTED when the system does not grant so many threads.
  explicit ReplicaTeam(Options options);
  ~ReplicaTeam();
  ReplicaTeam(const ReplicaTeam&) = delete;
  ReplicaTeam& operator=(const ReplicaTeam&) = delete;

  int first() const { return options_.first_replica; }
  int count() const { return options_.count; }

  // Runs body(replica) for all replicas of the process and returns when all have ended. Rethrows the
  // first failure, with the frame "replica N".
  void Run(const std::function<void(int replica)>& body);

 private:
  void Stop();
  void Loop(int replica);
  void RunOne(int replica, const std::function<void(int)>& body);

  const Options options_;
  std::mutex mutex_;
  std::condition_variable start_, done_;
  const std::function<void(int)>* body_ = nullptr;
  uint64_t generation_ = 0;
  int running_ = 0;
  bool stopping_ = false;
  std::exception_ptr failure_;
  std::vector<std::thread> threads_;
};

}  // namespace syncbn::train
