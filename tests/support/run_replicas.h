// Runs replicas as threads, spread over virtual processes of this one: what mpirun does to the program,
// in a test.
//
//   RunReplicas(4, 2, [](comm::ReplicaLink link) { ... link.Reduce(...) ... });
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "comm/in_process.h"
#include "comm/make_reducer.h"

namespace syncbn {

// The reducers of all virtual processes, in order of rank.
class InProcessReducers {
 public:
  InProcessReducers(int processes, const comm::ReducerOptions& options)
      : InProcessReducers(processes, options.replicas, [&](int) { return options; }) {}
  // `options`: those of a rank.
  InProcessReducers(int processes, int replicas,
                    const std::function<comm::ReducerOptions(int rank)>& options)
      : communicators_(comm::MakeInProcessCommunicators(processes)), map_(replicas, processes) {
    // Collective.
    reducers_.resize(communicators_.size());
    std::mutex mutex;
    std::exception_ptr failure;
    std::vector<std::thread> threads;
    for (size_t rank = 0; rank < communicators_.size(); ++rank) {
      threads.emplace_back([&, rank] {
        try {
          reducers_[rank] =
              comm::MakeReducer(*communicators_[rank], options(static_cast<int>(rank)));
        } catch (...) {
          std::lock_guard lock(mutex);
          failure = std::current_exception();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    if (failure) std::rethrow_exception(failure);
  }
  ~InProcessReducers() {
    // Destruction is collective.
    std::vector<std::thread> threads;
    for (auto& reducer : reducers_) threads.emplace_back([&reducer] { reducer.reset(); });
    for (std::thread& thread : threads) thread.join();
  }

  const comm::ReplicaMap& map() const { return map_; }
  comm::Communicator& communicator(int rank) { return *communicators_[static_cast<size_t>(rank)]; }
  comm::Reducer& reducer(int rank) { return *reducers_[static_cast<size_t>(rank)]; }
  comm::ReplicaLink Link(int replica) { return {&reducer(map_.ProcessOf(replica)), replica}; }

 private:
  std::vector<std::unique_ptr<comm::Communicator>> communicators_;
  const comm::ReplicaMap map_;
  std::vector<std::unique_ptr<comm::Reducer>> reducers_;
};

// Runs body(link of the replica) for every replica, each on a thread of its own. A replica that throws
// poisons the others; every replica's error, in the order in which they came, is in `errors`.
inline void RunReplicas(InProcessReducers& reducers,
                        const std::function<void(comm::ReplicaLink)>& body,
                        std::vector<Error>& errors) {
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (int replica = 0; replica < reducers.map().replicas(); ++replica) {
    threads.emplace_back([&, replica] {
      const comm::ReplicaLink link = reducers.Link(replica);
      const auto failed = [&](Error error) {
        {
          std::lock_guard lock(mutex);
          errors.push_back(error);
        }
        link.reducer->Poison(replica, error.message());
      };
      try {
        WithFrame([&] { return "replica " + std::to_string(replica); }, [&] { body(link); });
      } catch (const Error& error) {
        failed(error);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// The same with reducers of its own; throws the first error, with the replica in its frames.
inline void RunReplicas(const comm::ReducerOptions& options, int processes,
                        const std::function<void(comm::ReplicaLink)>& body) {
  std::vector<Error> errors;
  {
    InProcessReducers reducers(processes, options);
    RunReplicas(reducers, body, errors);
  }
  if (!errors.empty()) throw errors.front();
}

inline void RunReplicas(int replicas, int processes,
                        const std::function<void(comm::ReplicaLink)>& body) {
  RunReplicas(comm::ReducerOptions{.replicas = replicas}, processes, body);
}

}  // namespace syncbn
