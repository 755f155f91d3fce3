// What the passes of one process share: its replica threads, their workspaces, the clock and the
// reducer. Training steps, evaluation and replay all run on it.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>

#include "backend/backend.h"
#include "base/activity.h"
#include "base/clock.h"
#include "base/error.h"
#include "comm/reducer.h"
#include "nn/model.h"
#include "train/executor_pool.h"
#include "train/profile/recorder.h"
#include "train/replica_team.h"
#include "train/step_clock.h"
#include "train/watched_reducer.h"

namespace syncbn::train {

struct EngineOptions {
  int first_replica = 0;
  // Replicas of this process.
  int replicas = 1;
  // Replicas that compute at the same time, where they do not need each other inside a pass.
  int concurrency = 1;
  // For a profile; null: nobody records.
  Recorder* recorder = nullptr;
  // Called when the run has failed and replicas of this process do not come back from what they do: only
  // ending the process ends them. Without it Engine::Run waits for them. On the thread that called Run; need not
  // return.
  std::function<void(const Error& failure)> on_stuck;
  // How often Run looks after its replicas, and how long it waits for them after a failure: those that wait
  // come back at once, those that compute at the end of a layer.
  std::chrono::nanoseconds look_every = std::chrono::seconds(1);
  std::chrono::nanoseconds time_to_come_back = std::chrono::seconds(5);
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
  // Null: nobody records.
  Recorder* recorder() { return recorder_; }
  ExecutorPool& executors() { return executors_; }
  int first_replica() const { return team_.first(); }
  int local_replicas() const { return team_.count(); }

  // Runs body(replica) on every replica thread of the process. A failure of one poisons the reducer,
  // so that nobody waits for it, and is rethrown.
  void Run(const std::function<void(int replica)>& body);

  // While it lives, a replica waits for something that is not a reduction: kTurn or kData. Others know it then,
  // and the clock counts it.
  class Waiting {
   public:
    Waiting(Engine& engine, int replica, int64_t step, Activity activity);

   private:
    StepClock::Wait wait_;
    Recorder::Wait recorded_;
  };
  // A workspace, when it is this replica's turn.
  ExecutorPool::Lease TakeTurn(int replica, int64_t step);

  // What layers of this replica reduce through: its waits count as statistics.
  comm::ReplicaLink LayerLink(int replica) { return {&layer_reducer_, replica}; }
  // What the trainer reduces through.
  comm::ReplicaLink Link(int replica) { return {&step_reducer_, replica}; }

 private:
  void Look(const std::exception_ptr& failure);
  void BreakTurns();

  const nn::Model& model_;
  const backend::Backend& backend_;
  comm::Reducer& reducer_;
  StepClock clock_;
  Recorder* const recorder_;
  WatchedReducer layer_reducer_, step_reducer_;
  ExecutorPool executors_;
  const std::function<void(const Error&)> on_stuck_;
  const std::chrono::nanoseconds time_to_come_back_;
  std::optional<MonotonicTime> failed_since_;
  // Last: its threads use the rest and end first.
  ReplicaTeam team_;
};

}  // namespace syncbn::train
