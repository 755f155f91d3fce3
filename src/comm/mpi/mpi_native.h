// MPI_Iallreduce behind NativeCollectives. Includes MPI headers: for src/comm/mpi only.
#pragma once

#include "comm/mpi/mpi_port.h"
#include "comm/native_collectives.h"

namespace syncbn::comm {

// Collective: one communicator of MPI for each set of ranks. After a failed all-reduce no further ones can be
// made in this process.
std::unique_ptr<NativeCollectives> MakeMpiNative(std::shared_ptr<MpiPort> port,
                                                 const std::vector<std::vector<int>>& rank_sets);

}  // namespace syncbn::comm
