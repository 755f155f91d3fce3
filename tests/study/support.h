// Studies and results for the tests.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "base/error.h"
#include "study/executor.h"
#include "study/plan.h"

namespace syncbn::study::testing {

// Cells of batch 2, 4 and 8, three seeds; `more` is added to the file.
inline std::string SmallStudy(const std::string& more = "") {
  return R"(name: small
run:
  data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 32}}
  model: {architecture: mlp, hidden: [4], norm: batch}
  cluster: {replicas: 1, batch_per_replica: 8}
  train: {epochs: 2}
seeds: 3
axes:
  - {path: model.norm.batch, values: [2, 4, 8]}
)" + more;
}

// The same with as many seeds.
inline std::string OfSeeds(std::string study, size_t seeds) {
  const std::string three = "seeds: 3";
  return study.replace(study.find(three), three.size(), "seeds: " + std::to_string(seeds));
}

inline StudyFile Parse(const std::string& text, StudyOrigin origin = StudyOrigin::kNew) {
  return ParseStudyFile(text, "study.yaml", std::filesystem::temp_directory_path(), {}, "", origin);
}

// A study but for what it asks; and an axis of it, lines 6 and 7 of many.
inline const std::string kRun =
    "name: w\n"
    "run:\n"
    "  data: {dataset: shapes}\n"
    "  model: {architecture: mlp, hidden: [4], norm: batch}\n"
    "  cluster: {replicas: 4, batch_per_replica: 8}\n";

inline const std::string kAxes =
    "axes:\n"
    "  - {path: model.norm.batch, values: [2, 4]}\n";

// What is wrong with a study; "none".
inline std::string FaultOf(const std::string& text) {
  try {
    const Plan plan(Parse(text));
    return "none";
  } catch (const Error& error) {
    return error.what();
  }
}

// A trial that finished, with these accuracies at steps 8 and 16.
inline TrialRecord Finished(double first, double last, const std::string& digest = "d") {
  return {.end = TrialEnd::kFinished,
          .reason = "",
          .steps = 16,
          .samples = 128,
          .test = {{.steps = 8, .samples = 64, .loss = 2, .accuracy = first},
                   {.steps = 16, .samples = 128, .loss = 1, .accuracy = last}},
          .train = {{.steps = 16, .samples = 128, .loss = 0.5, .accuracy = last}},
          .classes = 10,
          .digest = digest,
          .timings = {{"seconds", 1.5}}};
}

// A result for every trial that is known, by what `result` makes of it; of tuning trials until all
// is.
inline std::map<std::string, TrialRecord> ResultsOf(
    const Plan& plan, const std::function<TrialRecord(const Trial& trial)>& result) {
  std::map<std::string, TrialRecord> results;
  while (true) {
    const Outlook outlook(plan, results);
    std::map<std::string, TrialRecord> fresh;
    for (const TrialResult& one : outlook.trials()) {
      if (one.record == nullptr) fresh[one.id] = result(one.trial);
    }
    if (fresh.empty()) return results;
    results.merge(fresh);
  }
}

}  // namespace syncbn::study::testing
