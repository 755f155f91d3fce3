// What a program without NCCL links, so that callers need no #ifdef.
#include "base/error.h"
#include "comm/nccl/nccl.h"

namespace syncbn::comm {
namespace {

constexpr const char* kMissing =
    "this program has no exchange over NCCL, which is for GPUs: it comes with the CUDA back end";

}  // namespace

bool HasNccl() { return false; }

std::string NcclVersion() {
  return "";
}

std::string WhyNotNccl(Communicator&, backend::MergeStream&) {
  return kMissing;
}

std::unique_ptr<Exchange> MakeNcclExchange(Communicator&, backend::MergeStream&,
                                           std::chrono::nanoseconds) {
  throw Error(ErrorCode::kUnimplemented, kMissing);
}

}  // namespace syncbn::comm
