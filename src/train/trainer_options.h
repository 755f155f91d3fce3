// What is handed to a trainer: where its figures and checkpoints go, who watches it, what stops it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <vector>

#include "base/activity.h"
#include "data/batch_maker.h"
#include "nn/step_context.h"
#include "train/checkpoint_store.h"
#include "train/metrics.h"
#include "train/probe.h"
#include "train/run_observer.h"

namespace syncbn::train {

// What a signal or a coordinator asks of the run. Agreed by all processes at the next step.
struct ControlRequests {
  bool checkpoint = false;
  bool stop = false;
};

struct TrainerOptions {
  // Only the root has these; null elsewhere.
  MetricSink* metrics = nullptr;
  CheckpointStore* checkpoints = nullptr;
  RunObserver* observer = nullptr;
  // Filled in at each checkpoint: what does not change (attempt, run file, environment).
  Manifest manifest;
  // Where steps are dumped, and what a reason names as that which can be played again: the run's
  // output folder. Empty but on the root, and where the folder is not to stay.
  std::filesystem::path out;
  // Steps [dump_from, dump_from + dump_steps) are dumped. The same in every process.
  int64_t dump_from = 0, dump_steps = 0;
  // Stop when this many steps are done, without counting that as the end of the run (replay).
  std::optional<int64_t> stop_at;
  bool evaluate = true;
  // Threads that prepare batches. Changes no result.
  int loader_threads = 1;
  // Looked at before each step is launched, in every process. A request in one of them ends the run
  // in all, after that step and with a checkpoint.
  std::stop_token stop;
  // Asked then, once a step, for what can only be polled (signals). May be empty.
  std::function<ControlRequests()> control_requests;
  // Told, in every process, before the first step. May be empty.
  std::function<void(const RunPlan& plan)> on_start;
  // Told, in every process, when it begins something, with the steps done and the epoch. May be
  // empty.
  std::function<void(Activity activity, int64_t steps, double epoch)> on_phase;
  // Asked by the root for every record, once it is complete: figures to add to it. May be empty.
  std::function<NamedFigures(const MetricRecord& record)> more_figures;
  // Beside those of the run file. The same in every process, each of which has its own.
  std::vector<Probe*> probes;
  // Observers of a replica's pass, and a look at its batch before it is used, on the host and with
  // images (data::Batch); the batch of a step that is run again, by a probe or because it was taken
  // back (trainer_steps.cc), is made and looked at anew.
  // May be empty.
  std::function<nn::TensorObserver(int64_t step, int replica)> observe;
  std::function<void(int64_t step, int replica, data::Batch& batch)> on_batch;
};

}  // namespace syncbn::train
