// The replica threads of one process.
//
// A replica is an ordinary training loop on a thread of its own: the team runs the same function for
// every replica of this process, each on the thread that is its for the whole run (with one replica, on
// the caller's own thread: the plain MPI program). The caller sleeps until all are done.
#pragma once

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

  // Throws RESOURCE_EXHAUSTED when the system does not grant so many threads.
  ReplicaTeam(int first_replica, int count, OnFailure on_failure);
  ~ReplicaTeam();
  ReplicaTeam(const ReplicaTeam&) = delete;
  ReplicaTeam& operator=(const ReplicaTeam&) = delete;

  int first() const { return first_; }
  int count() const { return count_; }

  // Runs body(replica) for all replicas of the process and returns when all have ended. Rethrows the
  // first failure, with the frame "replica N".
  void Run(const std::function<void(int replica)>& body);

 private:
  void Stop();
  void Loop(int replica);
  void RunOne(int replica, const std::function<void(int)>& body);

  const int first_;
  const int count_;
  const OnFailure on_failure_;
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
