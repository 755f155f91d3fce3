// What a trial came to, and the numbers that a study judges by.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "syncbn/v1/study.pb.h"

namespace syncbn::study {

// Of the test split, with the first of the statistics that the run file asks for; or of an epoch of
// training.
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

struct TrialRecord {
  TrialEnd end = TrialEnd::kFinished;
  std::string reason;
  int64_t steps = 0;
  int64_t samples = 0;
  // In their order.
  std::vector<Evaluation> test;
  std::vector<Evaluation> train;
  // Of the data set: what guessing comes to.
  int classes = 0;
  // StateDigest at the end.
  std::string digest;
  // What computed it: program, back end, libraries, instruction set. Others give other bits.
  std::string by;
  // Of this machine, never equal twice: not part of the result.
  std::map<std::string, double> timings;
};

// By name. A trial that has diverged has the accuracy and the loss of guessing. A target that was
// not reached is infinite; all measures of a trial that failed are NaN.
using Measures = std::map<std::string, double>;
Measures MeasuresOf(const TrialRecord& record, const v1::StudySpec& study);

// All of a study, in the order in which they are shown; "tuned" is the last where something is.
std::vector<std::string> MeasureNames(const v1::StudySpec& study);
// Whether more of it is better.
bool MoreIsBetter(const std::string& measure);

}  // namespace syncbn::study
