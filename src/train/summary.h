// summary.json: what a run came to, in one small file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "train/metric_record.h"

namespace syncbn::train {

struct Summary {
  struct Figures {
    double loss = 0;
    double accuracy = 0;
  };

  std::string name;
  // "finished", or "stopped" where the run was asked to stop before its end.
  std::string status;
  std::vector<std::string> command;
  int replicas = 1;
  int processes = 1;
  // One for each host, in the order of the ranks.
  std::vector<std::string> hosts;
  // "syncbn", "oneDNN", ... and what else bits depend on.
  std::map<std::string, std::string> versions;
  int attempt = 1;

  int64_t steps = 0;
  double epochs = 0;
  int64_t samples = 0;
  int64_t skipped_steps = 0;
  // Mean over the last epoch's steps.
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

  std::string ToJson() const;
};

// Whole or not at all; throws what WriteFileAtomically throws.
void WriteSummary(const std::filesystem::path& path, const Summary& summary);

}  // namespace syncbn::train
