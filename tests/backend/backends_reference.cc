// For runs under ThreadSanitizer, which cannot see into the libraries of the other back ends.

#include "tests/backend/conformance.h"

namespace syncbn::backend {

std::vector<BackendCase> BackendsUnderTest() {
  return {{"reference", [] { return MakeReferenceBackend(); }}};
}

}  // namespace syncbn::backend
