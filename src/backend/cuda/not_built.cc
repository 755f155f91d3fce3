// Stands in for the CUDA back end in a build without it, so that callers need no #ifdef.
#include "backend/backend.h"
#include "base/error.h"

namespace syncbn::backend {

std::unique_ptr<Backend> MakeCudaBackend() {
  throw Error(ErrorCode::kUnimplemented,
              "the CUDA back end is not built into this program; use the CPU back end");
}

}  // namespace syncbn::backend
