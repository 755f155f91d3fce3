// Gives a test program the emulated GPU (tests/support/test_device.h).
#include "tests/support/test_device.h"

#include "backend/cuda/cuda_backend.h"

namespace syncbn::backend {
namespace {

[[maybe_unused]] const bool registered = [] {
  make_emulated_backend = [] { return cuda::MakeBackend(); };
  return true;
}();

}  // namespace
}  // namespace syncbn::backend
