// What a trainer shows its probes.
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "train/trainer.h"

namespace syncbn::train {

data::Batch Trainer::Fed(int64_t step, int replica, data::Batch batch) const {
  if (options_.on_batch) {
    // It has its data: what is done with them now is no waiting.
    engine_.reducer().Report(replica, step, "batch", "");
    options_.on_batch(step, replica, batch);
  }
  return batch;
}

NamedFigures Trainer::LookAtStep(const StepSettings& settings, double learning_rate) {
  const StepFigures figures = step_.Figures();
  if (!figures.accepted) return {};
  const int64_t step_in_epoch = settings.step % plan_.steps_per_epoch();
  ProbedStep step{.step = settings.step,
                  .epoch = settings.epoch,
                  .last = settings.step + 1 == end_,
                  .learning_rate = learning_rate,
                  .model = &engine_.model(),
                  .parameters = settings.parameters,
                  .loss = figures.loss / figures.samples,
                  .gradients = step_.gradients(),
                  .moments = step_.moments().OnHost(),
                  .running_statistics = settings.running_statistics,
                  .executor = &engine_.executors().main()};
  step.precise_statistics = [&](int64_t samples) {
    return evaluator_.PreciseStatistics({.parameters = settings.parameters,
                                         .running_statistics = settings.running_statistics,
                                         .seed = settings.seed,
                                         .epoch = settings.epoch,
                                         .step = settings.step},
                                        samples);
  };
  const Tensor squares = step_.squares().OnHost();
  for (const double square : squares.Span<double>()) step.squared_gradient_norm += square;
  const Tensor of_replicas = step_.replica_squares().OnHost();
  for (int replica = 0; replica < plan_.replicas(); ++replica) {
    const int64_t samples = plan_.Slice(step_in_epoch, replica).size();
    ReplicaGradient gradient{.samples = samples};
    if (samples > 0) {
      // What it adds is scaled for a mean over the whole batch.
      const double scale =
          static_cast<double>(settings.global_batch) / static_cast<double>(samples);
      gradient.squared_norm =
          scale * scale * of_replicas.Span<double>()[static_cast<size_t>(replica)];
    }
    step.replicas.push_back(gradient);
  }
  std::once_flag ordered;
  std::vector<uint64_t> order;
  return probes_.Look(std::move(step), settings, [&](int replica) {
    std::call_once(ordered, [&] { order = sampler_.Order(settings.epoch); });
    // Batches are keyed: made again they are what the replica was fed.
    const data::PositionRange slice = plan_.Slice(step_in_epoch, replica);
    const std::span<const uint64_t> ids = std::span(order).subspan(
        static_cast<size_t>(slice.begin), static_cast<size_t>(slice.size()));
    backend::Stream* const copies = FedTo();
    return Fed(settings.step, replica,
               copies != nullptr ? train_.MakeFor(*copies, ids, settings.epoch)
                                 : train_.Make(ids, settings.epoch));
  });
}

}  // namespace syncbn::train
