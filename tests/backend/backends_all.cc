#include "tests/backend/conformance.h"

namespace syncbn::backend {

std::vector<BackendCase> BackendsUnderTest() {
  return {{"reference", MakeReferenceBackend}, {"cpu", MakeCpuBackend}};
}

}  // namespace syncbn::backend
