#include "tests/support/in_process_run.h"

#include <exception>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "backend/backend.h"
#include "base/error.h"
#include "comm/in_process.h"
#include "config/run_file.h"
#include "tests/support/test_device.h"

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
      options.backend == "cpu" ? backend::OnTestDevice(backend::MakeCpuBackend)
                               : backend::OnTestDevice(backend::MakeReferenceBackend);
  data::DatasetCache own;
  const train::PreparedRun run(spec, options.datasets != nullptr ? *options.datasets : own);

  InProcessRunResult result;
  result.digests.resize(static_cast<size_t>(options.processes));
  WarningCollector observer(result.warnings);
  train::MemorySink metrics;
  std::optional<train::CheckpointStore> store;
  if (!options.out.empty()) {
    store.emplace(train::CheckpointStoreOptions{
        .out = options.out,
        .keep = spec.train().checkpoint().keep(),
        .on_warning = [&](const std::string& warning) { observer.OnWarning(warning); }});
  }
  std::optional<train::StoredCheckpoint> from;
  if (options.resume) {
    from = store->Latest();
    if (!from) throw Error(ErrorCode::kNotFound, "there is no checkpoint to resume from");
  }
  auto communicators = comm::MakeInProcessCommunicators(options.processes);
  auto run_process = [&](int process) {
    train::RunEnvironment environment{
        .backend = backend.get(),
        .communicator = communicators[static_cast<size_t>(process)].get(),
        .concurrency = options.concurrency};
    if (!options.recorders.empty()) {
      environment.recorder = options.recorders.at(static_cast<size_t>(process));
    }
    environment.training.evaluate = false;
    if (process == 0) {
      environment.training.metrics = &metrics;
      environment.training.observer = &observer;
      if (store) environment.training.checkpoints = &*store;
      environment.training.out = options.out;
      environment.resume_from = std::move(from);
    }
    if (options.adjust) options.adjust(process, environment.training);
    train::TrainingRun training(run, std::move(environment));
    train::RunResult ended = training.Run();
    result.digests[static_cast<size_t>(process)] = ended.summary.digest.value();
    if (process == 0) {
      result.summary = std::move(ended.summary);
      result.state = std::move(ended.state);
    }
    if (options.after) options.after(process, training.engine());
  };
  OnProcesses(options.processes, run_process);
  result.records = metrics.records();
  return result;
}

void OnProcesses(int processes, const std::function<void(int process)>& body) {
  std::vector<std::exception_ptr> failures(static_cast<size_t>(processes));
  {
    std::vector<std::jthread> threads;
    for (int process = 0; process < processes; ++process) {
      threads.emplace_back([&, process] {
        try {
          body(process);
        } catch (...) {
          failures[static_cast<size_t>(process)] = std::current_exception();
        }
      });
    }
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace syncbn
