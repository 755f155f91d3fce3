// Stands in for the CUDA back end in a program without it, so that callers need no #ifdef.
#include "backend/backend.h"
#include "backend/gpus.h"
#include "base/error.h"

namespace syncbn::backend {
namespace {

constexpr const char* kMissing = "the CUDA back end is not there: " SYNCBN_CUDA_MISSING
                                 "; src/backend/cuda/toolkit.cmake says where it comes from";

}  // namespace

std::unique_ptr<Backend> MakeCudaBackend(int) {
  throw Error(ErrorCode::kUnimplemented, std::string(kMissing) + ". --backend cpu needs none");
}
bool HasCuda() {
  return false;
}
GpuReport DescribeGpus() {
  return {.versions = {}, .gpus = {}, .problem = kMissing};
}

}  // namespace syncbn::backend
