// The CUDA back end, with activations in float32 and in BF16.
#include "backend/cuda/cuda_backend.h"
#include "tests/backend/conformance.h"

namespace syncbn::backend {

std::vector<BackendCase> BackendsUnderTest() {
  return {
      {"cuda", [] { return cuda::MakeBackend(); }},
      {"cuda_bf16", [] { return cuda::MakeBackend()->WithPrecision(Precision::kBFloat16); }},
  };
}

}  // namespace syncbn::backend
