#include "train/engine.h"

#include <algorithm>
#include <string>

namespace syncbn::train {

Engine::Engine(const EngineOptions& options, const nn::Model& model,
               const backend::Backend& backend, comm::Reducer& reducer)
    : model_(model),
      backend_(backend),
      reducer_(reducer),
      clock_(options.replicas),
      timed_reducer_(reducer, clock_),
      executors_(backend, options.first_replica, options.replicas,
                 model.statistics_cross_replicas() ? options.replicas
                                                   : std::max(1, options.concurrency)),
      team_(options.first_replica, options.replicas,
            [this](int replica, const std::exception& failure) {
              reducer_.Poison(replica, failure.what());
              executors_.Break();
            }) {}

void Engine::Run(const std::function<void(int)>& body) {
  executors_.BeginRound();
  team_.Run(body);
}

}  // namespace syncbn::train
