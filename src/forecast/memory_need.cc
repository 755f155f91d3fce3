#include "forecast/memory_need.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "forecast/recording_reducer.h"
#include "train/engine.h"
#include "train/optimizer.h"
#include "train/train_step.h"

namespace syncbn::forecast {
namespace {

struct Peaks {
  double process = 0, replica = 0;
};

Peaks PeaksOfStep(const train::PreparedRun& run, const backend::Backend& backend, int64_t samples) {
  const nn::Model& model = run.model();
  const v1::RunSpec& spec = run.spec();
  RecordingReducer reducer(spec.cluster().replicas(), backend);
  train::Engine engine({.first_replica = 0, .replicas = 1}, model, backend, reducer);
  train::TrainStep step(engine, train::BucketBytes(spec.cluster()));
  backend::Executor& main = engine.executors().main();
  const train::Optimizer optimizer(spec.train().optimizer(), model.parameters());
  const train::StepSettings settings{
      .seed = spec.seed(),
      .global_batch = samples * spec.cluster().replicas(),
      .parameters = nn::ParameterSet(
          main.NewZeros({model.parameters().flat_elements()}, backend.types().parameters)),
      .running_statistics =
          main.NewZeros({model.running_statistics().flat_elements()}, DType::kFloat64)};
  const train::OptimizerState state =
      optimizer.InitialState(backend.types().parameters).ToDevice(main);
  std::vector<uint64_t> ids(static_cast<size_t>(samples));
  std::iota(ids.begin(), ids.end(), uint64_t{0});
  for (uint64_t& id : ids) id %= static_cast<uint64_t>(run.data().train().size());
  step.Run(settings, [&](int) { return run.train().Make(ids, 0); });
  main.Synchronize();
  return {.process = static_cast<double>(main.Memory().peak),
          .replica = static_cast<double>(engine.executors().executors().front()->Memory().peak)};
}

}  // namespace

double MemoryNeed::OfProcess(std::span<const int64_t> batches) const {
  double bytes = process;
  for (const int64_t batch : batches) bytes += OfReplica(batch);
  return bytes;
}

MemoryNeed MeasureMemoryNeed(const train::PreparedRun& run, const backend::Backend& backend,
                             int64_t most) {
  const int64_t more = std::max<int64_t>(2, most / 4), fewer = more / 2;
  try {
    const Peaks small = PeaksOfStep(run, backend, fewer), large = PeaksOfStep(run, backend, more);
    const double sample =
        std::max(0.0, (large.replica - small.replica) / static_cast<double>(more - fewer));
    return {.process = large.process,
            .replica = std::max(0.0, large.replica - sample * static_cast<double>(more)),
            .sample = sample,
            .fewer = fewer,
            .more = more};
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kResourceExhausted || more == 2) throw;
  }
  return MeasureMemoryNeed(run, backend, more);
}

}  // namespace syncbn::forecast
