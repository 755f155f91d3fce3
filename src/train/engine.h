// What the passes of one process share: its replica threads, their workspaces, the clock and the
// reducer. Training steps, evaluation and replay all run on it.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "comm/reducer.h"
#include "nn/model.h"
#include "train/executor_pool.h"
#include "train/replica_team.h"
#include "train/step_clock.h"

namespace syncbn::train {

struct EngineOptions {
  int first_replica = 0;
  // Replicas of this process.
  int replicas = 1;
  // Replicas that compute at the same time, where they do not need each other inside a pass.
  int concurrency = 1;
};

class Engine {
 public:
  // All references must outlive the engine.
  Engine(const EngineOptions& options, const nn::Model& model, const backend::Backend& backend,
         comm::Reducer& reducer);

  const nn::Model& model() const { return model_; }
  const backend::Backend& backend() const { return backend_; }
  comm::Reducer& reducer() { return reducer_; }
  StepClock& clock() { return clock_; }
  ExecutorPool& executors() { return executors_; }
  int first_replica() const { return team_.first(); }
  int local_replicas() const { return team_.count(); }

  // Runs body(replica) on every replica thread of the process. A failure of one poisons the reducer,
  // so that nobody waits for it, and is rethrown.
  void Run(const std::function<void(int replica)>& body);

  // What layers of this replica reduce through: its waits count as statistics.
  comm::ReplicaLink LayerLink(int replica) { return {&timed_reducer_, replica}; }
  // What the trainer reduces through.
  comm::ReplicaLink Link(int replica) { return {&reducer_, replica}; }

 private:
  const nn::Model& model_;
  const backend::Backend& backend_;
  comm::Reducer& reducer_;
  StepClock clock_;
  TimedReducer timed_reducer_;
  ExecutorPool executors_;
  // Last: its threads use the rest and end first.
  ReplicaTeam team_;
};

}  // namespace syncbn::train
