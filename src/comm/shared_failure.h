// What one process could not do, told to all before they wait for each other.
#pragma once

#include <exception>
#include <string_view>

#include "comm/communicator.h"

namespace syncbn::comm {

// Collective, to be called by every process after something that each does alone and may fail at, with what
// it threw or null. Where nobody failed it returns. Else who failed throws its own, and every other process
// ABORTED: "rank 3 could not <what>: <cause>", for the lowest such rank.
void ShareFailure(Communicator& communicator, const std::exception_ptr& failure,
                  std::string_view what);

}  // namespace syncbn::comm
