// summary.json: what a run came to, in one small file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "train/checkpoint.h"
#include "train/figures.h"
#include "train/metric_record.h"
#include "train/run_end.h"

namespace syncbn::train {

// What the training steps of a process have exchanged, their probes included.
struct Traffic {
  int64_t steps = 0;
  int64_t reductions = 0;
  // To other processes, and the bytes of their bodies.
  int64_t messages = 0, bytes = 0;
};

struct Summary {
  std::string name;
  RunEnd end = RunEnd::kFinished;
  // What happened and what to do, where the end is kDiverged or kStorage; else empty.
  std::string reason;
  std::vector<std::string> command;
  int replicas = 1;
  int processes = 1;
  // One for each host, in the order of the ranks.
  std::vector<std::string> hosts;
  // Of the first of these; empty and 0: not known.
  std::string processor;
  int cores = 0;
  // "syncbn", "oneDNN", ... and what else bits depend on.
  std::map<std::string, std::string> versions;
  // Name and description of what computed, e.g. "cpu: oneDNN 2.7.3 for AVX-512 ..."; empty: not
  // known.
  std::string back_end;
  int attempt = 1;
  // Of the data set; 0: not known.
  int classes = 0;

  // Numbers that are learned, and those that are kept for inference.
  int64_t parameters = 0, running_numbers = 0;

  int64_t steps = 0;
  double epochs = 0;
  int64_t samples = 0;
  int64_t skipped_steps = 0;
  // Where the run went on with another program, library or instruction set, in the order of the
  // steps.
  std::vector<EnvironmentChange> environment_changes;
  // Mean over the last epoch's steps that were not skipped, also over those before a resume.
  std::optional<Figures> train;
  // The last evaluation, by the statistics used: "running", "precise", "batch".
  std::map<std::string, Figures> test;
  std::optional<double> best_test_accuracy;
  // StateDigest at the end.
  std::optional<Digest> digest;

  // RFC 3339, UTC; of this attempt.
  std::string started, finished;
  double seconds = 0;
  // Training samples of this attempt by the time spent in training steps.
  double images_per_second = 0;
  // Of this attempt's steps together.
  MetricRecord::Milliseconds milliseconds;
  // Likewise, of this process.
  Traffic traffic;
  // The most that the executors of this process had in use, each at its own time: parameters, gradients, optimizer
  // state and activations, in bytes. 0 where the back end does not count.
  int64_t tensor_bytes = 0;

  std::string ToJson() const;
};

// Whole or not at all; throws what WriteFileAtomically throws.
void WriteSummary(const std::filesystem::path& path, const Summary& summary);

}  // namespace syncbn::train
