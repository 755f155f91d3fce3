// Runs the trials of a study that have no result yet, several at a time.
//
// Those that tune come first, since others follow from them. The others go seed by seed and not
// cell by cell: what is compared is compared within a seed, so that a machine that is slow for half
// a minute is so for all cells of a seed, and not for all seeds of a cell, whose mean would move. A
// study that is stopped has something of every cell, too.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "study/measures.h"
#include "study/outlook.h"
#include "study/plan.h"
#include "study/result_log.h"

namespace syncbn::study {

// Trains; filled by the program. Called by several threads at a time.
class TrialRunner {
 public:
  virtual ~TrialRunner() = default;
  // `run` is that of the trial. Nothing: it was stopped before its end, and has no result. What
  // cannot be run (a model that does not fit into the memory) is a record of kFailed; an Error that
  // is thrown ends the study.
  virtual std::optional<TrialRecord> Run(const TrialResult& trial, const v1::RunSpec& run,
                                         int processes, std::stop_token stop) = 0;
};

struct Progress {
  // Of all trials that are known: with a tuning block more may come.
  int64_t done = 0;
  int64_t known = 0;
  // In this process, of those that ended.
  int64_t ran = 0;
  int running = 0;
};

struct ExecutorOptions {
  // Processes of trials that go on at the same time; a trial that has more of them goes on alone.
  int at_once = 1;
  std::stop_token stop = {};
  // Digests of trials that come before all others: what they have begun goes on elsewhere.
  std::set<std::string> first = {};
  // On the thread that calls Execute; from time to time, and whenever a trial has ended and its
  // result is kept (`ended` has its record then). What it throws ends the study.
  std::function<void(const Progress& progress, const TrialResult* ended)> on_progress = {};
};

// Returns whether all have ended; false: it was stopped. Throws what a runner, the results or
// on_progress throws, and RESOURCE_EXHAUSTED where so many cannot go on at once, after the trials
// that were running have been stopped.
bool Execute(const Plan& plan, KeptResults& kept, TrialRunner& runner,
             const ExecutorOptions& options);

}  // namespace syncbn::study
