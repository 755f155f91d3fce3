// The exchange over NCCL: the data plane of device memory. Control stays with messages over MPI. It has no tags,
// so it needs Exchange::Order::kOfProcess.
#pragma once

#include <memory>

#include "comm/exchange.h"

namespace syncbn::comm {

// Whether this build has it.
bool HasNccl();
// An exchange among the processes of `control`, over which it is set up (ReducerOptions::make_exchange). Throws
// UNIMPLEMENTED in a build without NCCL.
std::unique_ptr<Exchange> MakeNcclExchange(Communicator& control);

}  // namespace syncbn::comm
