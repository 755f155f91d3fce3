// Where tests compute: on the host, or (SYNCBN_TEST_DEVICE=checked) on a device whose memory nobody may look
// into but its operations.
#pragma once

#include <cstdlib>
#include <memory>
#include <string_view>

#include "backend/backend.h"
#include "backend/checked/checked_backend.h"

namespace syncbn::backend {

// `make` is MakeReferenceBackend or MakeCpuBackend.
inline std::unique_ptr<Backend> OnTestDevice(std::unique_ptr<Backend> (*make)(Allocate)) {
  const char* const device = std::getenv("SYNCBN_TEST_DEVICE");
  const bool checked = device != nullptr && device == std::string_view("checked");
  return checked ? MakeCheckedBackend(make) : make(AllocateAligned);
}

}  // namespace syncbn::backend
