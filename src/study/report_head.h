// The lines under the title of a report that say what its trials ran on.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "study/outlook.h"

namespace syncbn::study {

// Machines and dates of the trials that have ended, and the programs that computed them: of all of
// these studies together. Where several machines had a part, it is said of how many trials; what an
// earlier program has not recorded is said to be missing. Empty: nothing has ended.
std::vector<std::string> RanOn(std::span<const Outlook* const> studies);

// What has written the report, apart from them: "report written 2026-11-30 by syncbn 1.0".
std::string WrittenLine(WallTime now, const std::string& version);

}  // namespace syncbn::study
