// The processes of a test that runs under mpirun (add_mpi_test).
#pragma once

#include "comm/communicator.h"

namespace syncbn {

// All ranks of the job; made by mpi_main.cc.
comm::Communicator& MpiWorld();

}  // namespace syncbn
