// What `syncbn study run` prints while it runs.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "app/console.h"
#include "study/executor.h"
#include "study/plan.h"

namespace syncbn::app {

// A line for each trial that has ended, and on a terminal one below them: how many, how much
// longer, and the best so far. Not thread-safe.
class StudyProgress {
 public:
  // `results`: those that are there already. `quiet`: nothing is printed. `plan` must outlive it.
  StudyProgress(const study::Plan& plan, const std::map<std::string, study::TrialRecord>& results,
                bool quiet);

  // See study::ExecutorOptions::on_progress.
  void Show(const study::Progress& progress, const study::TrialResult* ended);
  void Clear() { live_.Clear(); }

 private:
  struct Best {
    double accuracy = 0;
    std::string cell;
  };
  void Consider(const study::TrialResult& one);

  const study::Plan& plan_;
  const bool quiet_;
  LiveLine live_;
  const std::chrono::steady_clock::time_point start_;
  std::optional<Best> best_;
};

}  // namespace syncbn::app
