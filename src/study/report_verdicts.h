// Verdicts as a report shows them.
#pragma once

#include <optional>
#include <string>

#include "study/claims.h"
#include "study/document/document.h"
#include "study/plan.h"

namespace syncbn::study {

document::Outcome OutcomeOf(const Judgement& judgement);
// Nothing: its figure is exact.
std::optional<document::Interval> IntervalOf(const Judgement& judgement);
document::Verdict VerdictOf(const Judgement& judgement, const std::string& scale);

// What a verdict holds for: "a 9-layer VGG on 10,000 images ...", as far as all cells have it.
std::string ScaleOf(const Plan& plan);

}  // namespace syncbn::study
