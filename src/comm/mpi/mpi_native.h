// MPI_Iallreduce behind NativeCollectives. Includes MPI headers: for src/comm/mpi only.
#pragma once

#include "comm/mpi/mpi_communicator.h"
#include "comm/native_collectives.h"

namespace syncbn::comm {

// Collective over `parent`: one communicator for each set of its ranks.
std::unique_ptr<NativeCollectives> MakeMpiNative(std::shared_ptr<MpiRuntime> runtime, MPI_Comm parent,
                                                 const std::vector<std::vector<int>>& rank_sets);

}  // namespace syncbn::comm
