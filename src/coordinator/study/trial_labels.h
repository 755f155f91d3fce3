// The labels by which the job of a trial is found: study, trial, seed, where something is tuned
// tuned, and one for each axis, named after it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "study/outlook.h"
#include "study/plan.h"

namespace syncbn::coordinator {

// By axis: the key of its label. What a key cannot hold is '_'; an axis whose key another label has
// already gets "axis_" before it ("axis_seed").
std::vector<std::string> AxisLabels(const study::StudyFile& file);

// Those of a trial of the study of this number.
std::map<std::string, std::string> TrialLabels(int64_t study, const study::Plan& plan,
                                               const study::TrialResult& trial);

// FIELD_INVALID for labels of a submitter that take the place of these, or leave them no room.
void CheckLabelsBeside(const std::map<std::string, std::string>& own, const study::StudyFile& file);

}  // namespace syncbn::coordinator
