// The NCCL transport.
#pragma once

#include <memory>

#include "comm/communicator.h"

namespace syncbn::comm {

// Whether this build has it.
bool HasNccl();
// A communicator of the same processes that moves device memory. Throws UNIMPLEMENTED in a build without
// NCCL.
std::unique_ptr<Communicator> MakeNcclCommunicator(Communicator& bootstrap);

}  // namespace syncbn::comm
