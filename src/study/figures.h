// Measures that are figures of probes: "figure landscape.beta", "growth figure
// activations.*.gradient". See v1::ClaimSpec.measure.
#pragma once

#include <string>
#include <string_view>

#include "study/measures.h"

namespace syncbn::study {

bool IsFigure(const std::string& measure);
// "act2" before "act10": layers are numbered from the input to the output.
bool EarlierLayer(std::string_view a, std::string_view b);
// NaN where the trial has no such figure, or one that could not be told. Precondition:
// IsFigure(measure).
double ProbeFigureOf(const std::string& measure, const TrialRecord& record);

}  // namespace syncbn::study
