// How a run's end is shown, written and agreed on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "comm/communicator.h"
#include "train/summary.h"

namespace syncbn::app {

// A table of the final figures, on standard output. Without batch normalization all statistics are the same.
void PrintSummary(const train::Summary& summary, const std::filesystem::path& out, bool has_batch_norm);

// Writes summary.json. A run that ended well and cannot leave it has not: its end becomes kStorage.
void LeaveSummary(const std::filesystem::path& path, train::Summary& summary);

// Whether the file says that a run has finished after so many steps.
bool IsFinishedSummary(const std::filesystem::path& path, int64_t steps);

// Collective. Every process gets the end that the root found, which alone knows what it has
// written. DEADLINE_EXCEEDED where it has not come after the communicator's timeout: who writes
// files has ten stall timeouts.
void AgreeOnEnd(comm::Communicator& communicator, train::Summary& summary);

// On standard error, where it is not simply finished: what happened and what is left to go on from.
// `saved`: step of the newest checkpoint.
void SayEnd(const train::Summary& summary, std::optional<int64_t> saved);

int ExitCodeOf(train::RunEnd end);

}  // namespace syncbn::app
