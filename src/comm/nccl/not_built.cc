// What a build without NCCL links, so that callers need no #ifdef.
#include "base/error.h"
#include "comm/nccl/nccl.h"

namespace syncbn::comm {

bool HasNccl() { return false; }

std::unique_ptr<Exchange> MakeNcclExchange(Communicator&) {
  throw Error(ErrorCode::kUnimplemented,
              "this build has no exchange over NCCL: run on the CPU back end over MPI");
}

}  // namespace syncbn::comm
