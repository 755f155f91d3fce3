// The sentences that a report opens with.
#pragma once

#include <string>
#include <vector>

#include "study/claims.h"
#include "study/outlook.h"
#include "study/plan.h"

namespace syncbn::study {

// What is best, and whether the seeds tell it from the others; what diverged; how the claims came
// out.
std::vector<std::string> Answer(const Plan& plan, const Outlook& outlook,
                                const std::vector<Judgement>& judgements);

}  // namespace syncbn::study
