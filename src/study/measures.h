// What a trial came to, and the numbers that a study judges by.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "syncbn/v1/study.pb.h"

namespace syncbn::study {

// Of the test split, or of an epoch of training.
struct Evaluation {
  int64_t steps = 0;    // done before it
  int64_t samples = 0;  // seen before it
  double loss = 0;
  double accuracy = 0;
};

enum class TrialEnd {
  kFinished,
  kDiverged,
  kFailed,  // could not be run; `reason` says why
};

// "finished", "diverged", "failed"
const char* TrialEndName(TrialEnd end);

// Where and when a trial was trained: no part of what it came to.
struct TrialPlace {
  // Of its processes, each once; empty: not recorded.
  std::vector<std::string> hosts;
  // Of the first of them; empty and 0: not known.
  std::string processor;
  int cores = 0;
  std::string ended;  // RFC 3339, UTC
};

struct TrialRecord {
  TrialEnd end = TrialEnd::kFinished;
  std::string reason;
  int64_t steps = 0;
  int64_t samples = 0;
  // In their order, with the first of the statistics that the run file asks for.
  std::vector<Evaluation> test;
  std::vector<Evaluation> train;
  // All that the run file asks for: "running", "precise", "batch".
  std::map<std::string, std::vector<Evaluation>> test_with = {};
  // Of probes: steps done and the figure, by its name.
  std::map<std::string, std::vector<std::pair<int64_t, double>>> figures = {};
  // Of the model and of a step of its first process, by the measures' names: see SizeMeasures. An
  // earlier program has not recorded them.
  std::map<std::string, double> sizes = {};
  // Of the data set: what guessing comes to.
  int classes = 0;
  // StateDigest at the end.
  std::string digest;
  // What computed it: program, back end, libraries, instruction set. Others give other bits.
  std::string by;
  TrialPlace place = {};
  // Of this machine, never equal twice: not part of the result.
  std::map<std::string, double> timings;
};

// What is to be reached, by the names of targets: their values, or shares of what an arm has
// reached (nothing: not all of its trials have ended).
using Thresholds = std::map<std::string, std::optional<double>>;
// Of the targets that state their value themselves.
Thresholds StatedThresholds(const v1::StudySpec& study);

// NaN where it is not known: a trial that has failed, a threshold that is not known, an evaluation
// or a figure that the run did not make. A trial that has diverged has the accuracy and the loss of
// guessing. A target that was not reached is infinite. Throws INVALID_ARGUMENT for a name that
// IsMeasure refuses.
double MeasureOf(const std::string& measure, const TrialRecord& record, const v1::StudySpec& study,
                 const Thresholds& thresholds);

// Measures of all trials of a study, in the order in which they are shown: those that every study
// has, those of its targets, and those of its claims. "tuned", which is the cell's, is the last
// where something is.
std::vector<std::string> MeasureNames(const v1::StudySpec& study);
// Those that the claims of a study ask for, each once.
std::vector<std::string> AskedMeasures(const v1::StudySpec& study);
// Names that are known; see v1::ClaimSpec.measure.
bool IsMeasure(const std::string& measure, const v1::StudySpec& study);
// All that may stand in a study, for people: `figure NAME` stands for those of probes.
std::vector<std::string> KnownMeasures(const v1::StudySpec& study);
// "parameters", "running_numbers": numbers that are learned, and those kept for inference;
// "step_reductions", "step_messages", "step_bytes": what a step of the first process waits for, and
// sends to others.
const std::vector<std::string>& SizeMeasures();
// A time of this machine, or the memory that its executors took: never equal twice.
bool IsTime(const std::string& measure);
// The probe's name, where the measure is one of its figures: "landscape".
std::optional<std::string> ProbeOf(const std::string& measure);
// The smallest and the largest that a measure can be, whatever the run: no interval goes beyond.
struct PossibleRange {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};
PossibleRange PossibleRangeOf(const std::string& measure);
// A share of samples; steps to a target of that name are none.
bool IsAccuracy(const std::string& measure);
// Whether more of it is better.
bool MoreIsBetter(const std::string& measure);

}  // namespace syncbn::study
