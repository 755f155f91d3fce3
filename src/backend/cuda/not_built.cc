// Stands in for the CUDA back end in a program without it, so that callers need no #ifdef.
#include "backend/backend.h"
#include "base/error.h"

namespace syncbn::backend {

std::unique_ptr<Backend> MakeCudaBackend(int) {
  throw Error(ErrorCode::kUnimplemented,
              "the CUDA back end is not there: " SYNCBN_CUDA_MISSING
              "; src/backend/cuda/toolkit.cmake says where it comes from. "
              "--backend cpu needs none");
}
bool HasCuda() {
  return false;
}
int CountGpus() {
  return 0;
}

}  // namespace syncbn::backend
