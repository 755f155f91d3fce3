// Where tests compute: on the host, or (SYNCBN_TEST_DEVICE=checked) on a device whose memory nobody may look
// into but its operations.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "backend/backend.h"
#include "backend/checked/checked_backend.h"
#include "base/error.h"

namespace syncbn::backend {

// Throws INVALID_ARGUMENT when the variable names another. `make` is MakeReferenceBackend or MakeCpuBackend.
inline std::unique_ptr<Backend> OnTestDevice(std::unique_ptr<Backend> (*make)(Allocate)) {
  const char* const device = std::getenv("SYNCBN_TEST_DEVICE");
  if (device == nullptr) return make(AllocateAligned);
  if (device == std::string_view("checked")) return MakeCheckedBackend(make);
  throw Error(ErrorCode::kInvalidArgument, "SYNCBN_TEST_DEVICE is '" + std::string(device) +
                                               "': set it to 'checked', or not at all");
}

}  // namespace syncbn::backend
