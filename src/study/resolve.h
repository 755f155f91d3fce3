// A run file under the settings of a study: its own keys, and those that only a study has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/diagnostic.h"
#include "study/study_file.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::study {

// Keys of a study that no run file has (see v1::StudySpec.set).
inline constexpr std::string_view kSgdBatch = "sgd_batch";
inline constexpr std::string_view kSteps = "steps";
inline constexpr std::string_view kSamples = "samples";
inline constexpr std::string_view kProcesses = "processes";

// One of them, explained; empty: it is none of them.
std::string ExplainOwnKey(std::string_view key);

// The key of the run file that a setting gives a value; `processes` gives none one, and is itself.
std::string_view KeyOf(std::string_view path);

struct ResolvedRun {
  v1::RunSpec run;
  int processes = 1;
  // Empty: it is right. The setting that is to blame, if one alone is.
  std::vector<std::pair<config::Diagnostic, const Setting*>> faults;
};

ResolvedRun Resolve(const StudyFile& file, const std::vector<Setting>& settings);

// Training samples of a run, as far as its run file says; nothing: only its data do.
std::optional<int64_t> TrainingSamples(const v1::RunSpec& run);
// Steps of a whole run over so many training samples, train.max_steps apart. Throws
// INVALID_ARGUMENT where no step would have a sample.
int64_t WholeSteps(const v1::RunSpec& run, int64_t training_samples);

}  // namespace syncbn::study
