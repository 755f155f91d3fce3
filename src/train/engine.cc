#include "train/engine.h"

#include <algorithm>

#include "base/unknown_value.h"
#include "comm/progress_board.h"

namespace syncbn::train {
namespace {

Share ShareOf(Activity activity) {
  // Who waits for its turn waits for replicas of this process that compute.
  if (activity == Activity::kTurn) return Share::kCompute;
  if (activity == Activity::kData) return Share::kData;
  ThrowUnknownValue("a wait of a replica", std::string(NameOf(activity)));
}

}  // namespace

Engine::Engine(const EngineOptions& options, const nn::Model& model,
               const backend::Backend& backend, comm::Reducer& reducer)
    : model_(model),
      backend_(backend),
      reducer_(reducer),
      clock_(options.replicas),
      recorder_(options.recorder),
      layer_reducer_(reducer, WatchedReducer::Of::kLayers, clock_, recorder_),
      step_reducer_(reducer, WatchedReducer::Of::kStep, clock_, recorder_),
      executors_(
          backend, options.first_replica, options.replicas,
          model.statistics_cross_replicas() ? options.replicas : std::max(1, options.concurrency)),
      on_stuck_(options.on_stuck),
      time_to_come_back_(options.time_to_come_back),
      team_({.first_replica = options.first_replica,
             .count = options.replicas,
             .on_failure =
                 [this](int replica, const std::exception& failure) {
                   reducer_.Poison(replica, failure.what());
                   BreakTurns();
                 },
             .on_look = [this](const std::exception_ptr& failure) { Look(failure); },
             .look_every = options.look_every}) {}

void Engine::Run(const std::function<void(int)>& body) {
  executors_.BeginRound();
  comm::ProgressBoard& board = reducer_.board();
  board.SetInRound(true);
  team_.Run([&](int replica) {
    body(replica);
    if (recorder_ != nullptr) recorder_->Rest(replica);
    board.Enter(replica, board.Read(replica).step, Activity::kRest);
  });
  board.SetInRound(false);
}

Engine::Waiting::Waiting(Engine& engine, int replica, int64_t step, Activity activity)
    : wait_(engine.clock_, ShareOf(activity)),
      recorded_(engine.recorder_, replica, NameOf(activity)) {
  engine.reducer_.board().Enter(replica, step, activity);
}

ExecutorPool::Lease Engine::TakeTurn(int replica, int64_t step) {
  const Waiting waiting(*this, replica, step, Activity::kTurn);
  return executors_.Acquire(replica);
}

void Engine::BreakTurns() {
  executors_.Break([this] { reducer_.ThrowFailure(); });
}

void Engine::Look(const std::exception_ptr& failure) {
  if (!reducer_.CheckWaits()) return;
  BreakTurns();
  const MonotonicTime now = Clock::System().Monotonic();
  if (!failed_since_) failed_since_ = now;
  if (!on_stuck_ || now - *failed_since_ < time_to_come_back_) return;
  try {
    if (failure) std::rethrow_exception(failure);
    reducer_.ThrowFailure();
  } catch (const Error& error) {
    on_stuck_(error);
  }
}

}  // namespace syncbn::train
