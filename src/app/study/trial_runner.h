// Trials of a study. Those of one process are calls of train::RunTraining in this one, and share
// the data sets; those of several are children under mpirun.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "backend/backend.h"
#include "data/dataset_cache.h"
#include "study/executor.h"
#include "train/training_run.h"

namespace syncbn::app {

class LocalTrialRunner final : public study::TrialRunner {
 public:
  // `scratch`: an existing folder, for trials of several processes. `at_once`: trials that go on
  // side by side, which share the cores of this machine.
  explicit LocalTrialRunner(const std::string& backend, std::filesystem::path scratch = ".",
                            int at_once = 1);

  // What of this program and machine the bits of a result depend on.
  const std::string& by() const { return by_; }

  // On as many cores as processes. Throws INTERNAL for what is a fault of this program.
  std::optional<study::TrialRecord> Run(const study::TrialResult& trial, const v1::RunSpec& run,
                                        int processes, std::stop_token stop) override;
  // Of the two splits, as far as the run uses them.
  struct Images {
    int64_t training = 0, test = 0;
  };
  Images ImagesOf(const v1::RunSpec& run);
  // Seconds that one sample of the run's training takes, by a few steps of it; without its probes,
  // but for what the noise scale does in every step.
  double SecondsPerSample(const v1::RunSpec& run);
  // Seconds that the figures of its probes take in so many steps, by one figure of each.
  double ProbeSeconds(const v1::RunSpec& run, int64_t steps);

  // Seconds that a trial of several processes takes beside its training, by one of a few steps: the
  // start of mpirun and of its ranks, the data that each loads, and the end of all. 0 where such a
  // trial does not come to an end, and of one process.
  double StartSeconds(const v1::RunSpec& run, int processes);

 private:
  std::optional<study::TrialRecord> RunHere(const v1::RunSpec& run, std::stop_token stop);
  // A run of few steps that is not evaluated.
  train::Summary RunBriefly(const v1::RunSpec& run);

  const std::unique_ptr<backend::Backend> backend_;
  const std::string by_;
  const std::filesystem::path scratch_;
  // Replicas of a trial that compute at once.
  const int concurrency_;
  data::DatasetCache datasets_;
};

}  // namespace syncbn::app
