#include "train/checkpoint_evaluation.h"

#include <algorithm>
#include <memory>

#include "comm/in_process.h"
#include "comm/make_reducer.h"
#include "data/batch_plan.h"
#include "train/optimizer.h"
#include "train/run_backend.h"

namespace syncbn::train {

std::vector<EvaluationResult> EvaluateCheckpoint(const PreparedRun& run,
                                                 const backend::Backend& given,
                                                 const StoredCheckpoint& checkpoint,
                                                 const CheckpointEvaluationOptions& options) {
  const v1::RunSpec& spec = run.spec();
  const nn::Model& model = run.model();
  const int replicas = spec.cluster().replicas();
  const RunBackend own(given, spec);
  const backend::Backend& backend = own.get();
  const auto communicators = comm::MakeInProcessCommunicators(1);
  const std::unique_ptr<comm::Reducer> reducer = comm::MakeReducer(
      *communicators.front(),
      {.kind = comm::ReducerKind::kTree, .replicas = replicas, .backend = &given});
  Engine engine({.replicas = replicas, .concurrency = options.concurrency}, model, backend,
                *reducer);
  const Optimizer optimizer(spec.train().optimizer(), model.parameters());
  const TrainingState state =
      RestoreState({&model.parameters(), &model.running_statistics(), &optimizer},
                   backend.types().parameters, checkpoint.manifest, checkpoint.tensors,
                   checkpoint.folder.string())
          .ToDevice(engine.executors().main());
  const std::vector<int64_t> batches = data::BatchPerReplica(spec.cluster());
  const data::BatchPlan plan(run.train().dataset().size(), batches, spec.data().last_batch());
  const int64_t step = checkpoint.manifest.counters.step;
  const ModelState evaluated{.parameters = nn::ParameterSet(state.parameters),
                             .running_statistics = state.running_statistics,
                             .seed = spec.seed(),
                             .epoch = std::max<int64_t>(0, step - 1) / plan.steps_per_epoch(),
                             .step = step};
  Evaluator evaluator(engine, run.train(), run.test(),
                      {.batch_per_replica = batches,
                       .precise_samples = options.precise_samples,
                       .prefetch = spec.data().prefetch(),
                       .threads = options.concurrency});
  std::vector<EvaluationResult> results;
  for (const v1::EvaluationMode mode : options.modes) {
    results.push_back(evaluator.Evaluate(mode, evaluated));
  }
  return results;
}

}  // namespace syncbn::train
