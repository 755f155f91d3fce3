// The exchange over NCCL: the data plane of GPUs. Control stays with messages over MPI. It has no
// tags, no probes and no deadline: it needs Exchange::Order::kOfProcess, moves in the order of the
// merge stream, and is ended by ncclCommAbort where the reducer finds that the run has failed.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "backend/merge_stream.h"
#include "comm/exchange.h"

namespace syncbn::comm {

// Whether this program has it.
bool HasNccl();
// "NCCL 2.28.9"; empty without it.
std::string NcclVersion();

// Why the processes of `control` cannot use it for tensors of `merges`: one has none, or two share
// a GPU or have parts of one (MIG), which NCCL refuses but from version 2.30 on where
// NCCL_MULTI_RANK_GPU_ENABLE=1 is set in all of them. Empty: they can. Collective; the same in all
// of them.
std::string WhyNotNccl(Communicator& control, backend::MergeStream& merges);

// An exchange among the processes of `control`, over which it is set up, for blocks of `merges`,
// which must outlive it. Collective, as its destruction is, unless it was aborted. Throws
// UNIMPLEMENTED in a program without NCCL, INVALID_ARGUMENT where `merges` is not a GPU's,
// UNAVAILABLE with what NCCL says, DEADLINE_EXCEEDED where the others have not joined within the
// timeout; ABORTED where another process has failed.
std::unique_ptr<Exchange> MakeNcclExchange(Communicator& control, backend::MergeStream& merges,
                                           std::chrono::nanoseconds timeout);

}  // namespace syncbn::comm
