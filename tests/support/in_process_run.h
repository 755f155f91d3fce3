// A whole training run inside a test: P virtual processes, each of which calls train::TrainingRun,
// over the in-process transport.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/digest.h"
#include "syncbn/v1/run.pb.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/training_run.h"

namespace syncbn {

// A complete run file from YAML text (defaults filled in). Throws with the diagnostics if it is wrong.
v1::RunSpec RunSpecFromYaml(const std::string& text);

// ThreadSanitizer does not see the synchronization inside OpenMP, which oneDNN uses: under it the tests run
// on the reference back end.
#ifdef __SANITIZE_THREAD__
inline constexpr const char* kTestBackend = "reference";
#else
inline constexpr const char* kTestBackend = "cpu";
#endif

struct InProcessRunOptions {
  std::string backend = kTestBackend;
  int processes = 1;
  // Replicas that compute at the same time where they may take turns.
  int concurrency = 2;
  // Shared with other runs; null: none.
  data::DatasetCache* datasets = nullptr;
  // Where the root writes checkpoints and dumps; empty: nowhere.
  std::filesystem::path out;
  // Continue from the newest checkpoint in `out`.
  bool resume = false;
  // Records the steps of each process; by process, or empty.
  std::vector<train::Recorder*> recorders;
  // Applied to the options of every process before it runs.
  std::function<void(int process, train::TrainerOptions& options)> adjust;
  // Looks at every process's engine after the run.
  std::function<void(int process, train::Engine& engine)> after;
};

struct InProcessRunResult {
  train::Summary summary;
  // Of the root.
  std::vector<train::MetricRecord> records;
  // By process: the digest of the final state.
  std::vector<Digest> digests;
  train::TrainingState state;
  std::vector<std::string> warnings;

  // Digest after each step, by step.
  std::map<int64_t, Digest> StepDigests() const;
};

// Runs to the end. A failure of any process is rethrown.
InProcessRunResult RunInProcess(const v1::RunSpec& spec, const InProcessRunOptions& options);

// body(process) for each of them, on a thread of its own. When all have ended, the failure of the first
// that has one is rethrown.
void OnProcesses(int processes, const std::function<void(int process)>& body);

}  // namespace syncbn
