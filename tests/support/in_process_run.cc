#include "tests/support/in_process_run.h"

#include <thread>

#include "backend/backend.h"
#include "base/error.h"
#include "comm/in_process.h"
#include "comm/make_reducer.h"
#include "config/run_file.h"
#include "data/dataset.h"
#include "nn/model.h"

namespace syncbn {
namespace {

class WarningCollector : public train::RunObserver {
 public:
  explicit WarningCollector(std::vector<std::string>& warnings) : warnings_(warnings) {}
  void OnWarning(const std::string& warning) override { warnings_.push_back(warning); }

 private:
  std::vector<std::string>& warnings_;
};

}  // namespace

v1::RunSpec RunSpecFromYaml(const std::string& text) {
  return config::ParseRunFile(text, "test.yaml", {}).spec;
}

std::map<int64_t, Digest> InProcessRunResult::StepDigests() const {
  std::map<int64_t, Digest> digests;
  for (const train::MetricRecord& record : records) {
    if (record.split == "train" && record.digest) digests[record.step] = *record.digest;
  }
  return digests;
}

InProcessRunResult RunInProcess(const v1::RunSpec& spec, const InProcessRunOptions& options) {
  const std::unique_ptr<backend::Backend> backend =
      options.backend == "cpu" ? backend::MakeCpuBackend() : backend::MakeReferenceBackend();
  const data::DatasetPair data = data::MakeDataset(spec.data(), spec.seed());
  const data::ImageShape& image = data.train->image_shape();
  const auto model = nn::BuildModel(spec.model(), spec.cluster(),
                                    {.height = image.height,
                                     .width = image.width,
                                     .channels = image.channels,
                                     .classes = data.train->classes()});
  const data::ChannelStatistics statistics = data.train->ComputeStatistics();
  const data::BatchMaker train(*data.train,
                               data::BatchMaker::Options::ForTraining(spec, statistics));
  const data::BatchMaker test(*data.test,
                              data::BatchMaker::Options::ForEvaluation(spec, statistics));

  InProcessRunResult result;
  result.digests.resize(static_cast<size_t>(options.processes));
  std::vector<std::exception_ptr> failures(static_cast<size_t>(options.processes));
  WarningCollector observer(result.warnings);
  auto communicators = comm::MakeInProcessCommunicators(options.processes);
  auto run_process = [&](int process) {
    const auto reducer =
        comm::MakeReducer(*communicators[static_cast<size_t>(process)],
                          {.replicas = spec.cluster().replicas(),
                           .stall_timeout = std::chrono::seconds(60)});
    const comm::Group local =
        comm::ReplicaMap(spec.cluster().replicas(), options.processes).OfProcess(process);
    train::Engine engine({.first_replica = local.begin,
                          .replicas = local.size(),
                          .concurrency = options.concurrency},
                         *model, *backend, *reducer);
    train::MemorySink metrics;
    std::optional<train::CheckpointStore> store;
    if (!options.out.empty()) {
      store.emplace(train::CheckpointStoreOptions{
          .out = options.out,
          .keep = spec.train().checkpoint().keep(),
          .on_warning = [&](const std::string& warning) { observer.OnWarning(warning); }});
    }
    train::TrainerOptions trainer_options;
    trainer_options.evaluate = false;
    if (process == 0) {
      trainer_options.metrics = &metrics;
      trainer_options.observer = &observer;
      if (store) trainer_options.checkpoints = &*store;
      trainer_options.out = options.out;
    }
    if (options.adjust) options.adjust(process, trainer_options);
    train::Trainer trainer(spec, engine, train, test, trainer_options);
    if (options.resume) {
      const auto stored = store->Latest();
      if (!stored) throw Error(ErrorCode::kNotFound, "there is no checkpoint to resume from");
      trainer.Restore(train::RestoreState(trainer.layouts(), backend->dtype(), stored->manifest,
                                          stored->tensors, "checkpoint"),
                      stored->manifest);
    }
    const train::Summary summary = trainer.Run();
    result.digests[static_cast<size_t>(process)] = trainer.StateDigest();
    if (process == 0) {
      result.summary = summary;
      result.records = metrics.records();
      result.state = trainer.state();
    }
    if (options.after) options.after(process, engine);
  };
  {
    std::vector<std::jthread> threads;
    for (int process = 0; process < options.processes; ++process) {
      threads.emplace_back([&, process] {
        try {
          run_process(process);
        } catch (...) {
          failures[static_cast<size_t>(process)] = std::current_exception();
        }
      });
    }
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
  return result;
}

}  // namespace syncbn
