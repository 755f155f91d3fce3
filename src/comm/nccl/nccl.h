// The exchange over NCCL: the data plane of device memory. Control stays with messages over MPI.
#pragma once

#include <memory>

#include "comm/exchange.h"

namespace syncbn::comm {

// Whether this build has it.
bool HasNccl();
// An exchange among the processes of `control`, over which it is set up. Throws UNIMPLEMENTED in a build
// without NCCL.
std::unique_ptr<Exchange> MakeNcclExchange(Communicator& control);

}  // namespace syncbn::comm
