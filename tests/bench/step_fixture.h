// A run (train::TrainingRun) that takes one step when it is told to, for benchmarks: what is timed
// is a step with its loader, its acceptance and its metrics, as `syncbn train` runs it.
#pragma once

#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "backend/backend.h"
#include "data/batch_maker.h"
#include "data/dataset_cache.h"
#include "nn/model.h"
#include "train/training_run.h"

namespace syncbn::bench {

struct StepSetup {
  std::string architecture;
  int replicas = 1;
  int64_t batch_per_replica = 64;
  bool synchronized = false;  // statistics over all replicas, else over each one's batch
  bool direct = false;        // convolutions by their definition, else as runs have them by default
  bool native = false;        // sums by the library's all-reduce, else by the tree
};

// On a back end of the host: a device would be given the next step before it is asked for.
class StepFixture : private train::RunObserver {
 public:
  // `communicator`: null for one process. Collective; back end and communicator must outlive the
  // fixture.
  StepFixture(const StepSetup& setup, const backend::Backend& backend,
              comm::Communicator* communicator = nullptr);
  // Takes one more step, in which every process is told to stop: collective.
  ~StepFixture() override;

  // One step. Collective. The trainer runs on a thread of its own; handing over costs microseconds.
  void Step();

  const nn::Model& model() const { return run_.model(); }
  // Of the newest step, mean over the samples.
  double loss() const { return loss_; }

 private:
  void OnStep(const train::MetricRecord& record, const train::EpochSums& epoch) override;

  data::DatasetCache datasets_;
  const train::PreparedRun run_;
  data::Batch batch_;  // the same for every replica and step
  std::unique_ptr<train::TrainingRun> training_;
  double loss_ = 0;
  bool stop_ = false;
  std::binary_semaphore wanted_{0}, done_{0};
  std::jthread thread_;  // last: it uses the rest
};

struct Spread {
  double median = 0, min = 0, max = 0;
};
Spread SpreadOf(std::vector<double> values);

}  // namespace syncbn::bench
