// The CUDA back end on the emulated device.
#include "backend/cuda/cuda_backend.h"
#include "tests/backend/conformance.h"

namespace syncbn::backend {

std::vector<BackendCase> BackendsUnderTest() {
  return {{"cuda", [] { return cuda::MakeBackend(); }}};
}

}  // namespace syncbn::backend
