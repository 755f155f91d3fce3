// The train command: what a call of train::RunTraining needs of the outside, made and handed in.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "app/run/fault.h"
#include "train/profile/recorder.h"

namespace syncbn::app {

struct RunRequest {
  std::filesystem::path run_file;
  std::vector<std::string> sets;
  std::string backend = "auto";
  std::string exchange = "auto";
  // Output folder; empty: runs/NAME.
  std::filesystem::path out;
  bool resume = false;
  // Remove what another run has left in the folder.
  bool overwrite = false;
  int64_t dump_from = 0, dump_steps = 0;
  // Record these steps.
  std::optional<train::Recorder::Steps> profile;
  bool evaluate = true;
  bool write_checkpoints = true;
  bool quiet = false;
  // Draw a live line: nothing given means on a terminal, but not under mpirun, which gives its processes a
  // terminal of their own whatever its output is.
  std::optional<bool> live;
  // Replicas of a process that compute at the same time; nothing: its share of the cores.
  std::optional<int> threads;
  // Which start of a job this is; nothing: one more than the folder has seen.
  std::optional<int> attempt;
  // It is one of a study, which removes the output folder when it has the result.
  bool trial = false;
  // host:port, in place of the one that the environment of a job names.
  std::string coordinator;
  Fault fault;
  // For records.
  std::vector<std::string> command;
};

// Runs it on all processes of mpirun, or on this one alone. Returns the exit code. Errors are printed, once
// for all processes, and end all of them.
int RunSession(const RunRequest& request);

}  // namespace syncbn::app
