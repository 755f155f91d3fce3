// The in-process transport: P virtual processes whose ranks are threads of one process.
//
// The twin of the MPI transport for tests and sanitizers; with P = 1 it is what a run without mpirun
// uses.
#pragma once

#include <memory>
#include <vector>

#include "comm/communicator.h"

namespace syncbn::comm {

// One communicator for each of `processes` virtual processes, in order of rank.
std::vector<std::unique_ptr<Communicator>> MakeInProcessCommunicators(int processes);

}  // namespace syncbn::comm
