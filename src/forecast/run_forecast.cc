#include "forecast/run_forecast.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "data/batch_plan.h"
#include "forecast/norm_batch.h"

namespace syncbn::forecast {
namespace {

v1::RunSpec WithNormBatch(v1::RunSpec spec, int64_t samples, int64_t global) {
  v1::NormBatch batch = GlobalNormBatch();
  if (samples != global) batch.set_samples(samples);
  SetNormBatch(*spec.mutable_model(), batch, Norms::kOfTheModel);
  return spec;
}

// Complete run files have a number for each replica.
bool SameForAll(const v1::ClusterSpec& cluster) {
  const auto& batches = cluster.batch_per_replica();
  return std::ranges::all_of(batches, [&](int batch) { return batch == batches[0]; });
}

}  // namespace

int64_t ReplicaBatch(const v1::ClusterSpec& cluster) {
  return std::ranges::max(cluster.batch_per_replica());
}

v1::RunSpec RunForecast::SpecOf(int processes, std::optional<int64_t> sgd_batch) const {
  v1::RunSpec spec = run_;
  v1::ClusterSpec& cluster = *spec.mutable_cluster();
  const int replicas = std::max(cluster.replicas(), processes);
  if (replicas == cluster.replicas() && !sgd_batch) return spec;
  if (!SameForAll(cluster)) {
    throw Error(ErrorCode::kInvalidArgument,
                "cluster.batch_per_replica has different numbers for its " +
                    Plural(cluster.replicas(), "replica") +
                    "; one number can be used with more, and with other SGD batches");
  }
  const int batch = cluster.batch_per_replica(0);
  cluster.set_replicas(replicas);
  cluster.clear_batch_per_replica();
  if (!sgd_batch) {
    cluster.add_batch_per_replica(batch);
    return spec;
  }
  if (*sgd_batch % replicas != 0) {
    throw Error(ErrorCode::kInvalidArgument, "an SGD batch of " + Plural(*sgd_batch, "sample") +
                                                 " cannot be shared out to " +
                                                 Plural(replicas, "replica") + " evenly");
  }
  cluster.add_batch_per_replica(static_cast<int>(*sgd_batch / replicas));
  return spec;
}

RunForecast::Step RunForecast::Predict(const v1::RunSpec& spec, int processes) {
  // One in the middle: both of its ends have neighbours.
  ProcessProgram program = recorder_.OfProcess(spec, processes, processes / 2);
  program.program = profile_.Timed(std::move(program.program), ReplicaBatch(spec.cluster()));
  const int replicas = spec.cluster().replicas();
  const ProcessShape shape{.replicas = (replicas + processes - 1) / processes,
                           .cores = options_.cores};
  return {.time = PredictStep(program, shape, options_.network, profile_.costs),
          .messages = program.messages(),
          .bytes = program.bytes(),
          .shares_statistics = std::ranges::any_of(
              program.program.events,
              [](const ProgramEvent& event) { return event.kind == EventKind::kWaitInPass; })};
}

ClusterForecast RunForecast::At(int processes, std::optional<int64_t> sgd_batch) {
  ClusterForecast forecast{.processes = processes};
  try {
    const v1::RunSpec spec = SpecOf(processes, sgd_batch);
    forecast.replicas = spec.cluster().replicas();
    forecast.sgd_batch = data::SgdBatch(spec.cluster());
    forecast.replica_batch = ReplicaBatch(spec.cluster());
    const Step step = Predict(spec, processes);
    forecast.step = step.time;
    forecast.messages = step.messages;
    forecast.bytes = step.bytes;
    forecast.extrapolated = !profile_.Covers(forecast.replica_batch);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalidArgument) throw;
    forecast.impossible = error.message();
  }
  return forecast;
}

std::optional<FreeNormBatch> RunForecast::FreeAt(int processes, std::optional<int64_t> sgd_batch) {
  const v1::RunSpec spec = SpecOf(processes, sgd_batch);
  const v1::ClusterSpec& cluster = spec.cluster();
  const int64_t batch = cluster.batch_per_replica(0), global = batch * cluster.replicas();
  if (!SameForAll(cluster) || batch == global || batch == 0) return std::nullopt;
  std::vector<int64_t> candidates;
  for (int64_t samples = 2 * batch; samples < global && global % samples == 0; samples *= 2) {
    candidates.push_back(samples);
  }
  candidates.push_back(global);
  // A single sample has no statistics of its own in a norm over features.
  const auto predict = [&](int64_t samples) -> std::optional<Step> {
    try {
      return Predict(WithNormBatch(spec, samples, global), processes);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInvalidArgument) throw;
      return std::nullopt;
    }
  };
  const std::optional<Step> alone = predict(batch);
  if (!alone) return std::nullopt;
  FreeNormBatch free{.samples = batch, .replica = batch, .global = global};
  for (const int64_t samples : candidates) {
    const std::optional<Step> step = predict(samples);
    if (!step) continue;
    const double adds = step->time.total() / alone->time.total() - 1;
    if (samples == global) {
      if (!step->shares_statistics) return std::nullopt;
      free.global_adds = adds;
    }
    if (adds <= kFreeShare) free.samples = samples;
  }
  return free;
}

std::vector<Setting> RunForecast::Settings(const std::vector<int>& processes,
                                           const std::vector<int64_t>& sgd_batches) {
  std::vector<Setting> settings;
  for (const int64_t batch : sgd_batches) {
    for (const int count : processes) {
      const ClusterForecast forecast = At(count, batch);
      if (!forecast.impossible.empty()) continue;
      settings.push_back(
          {.sgd_batch = batch, .processes = count, .step_seconds = forecast.step.total()});
    }
  }
  return settings;
}

}  // namespace syncbn::forecast
