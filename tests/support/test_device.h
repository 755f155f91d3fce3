// Where tests compute: on the host, or (SYNCBN_TEST_DEVICE=checked) on a device whose memory nobody
// may look into but its operations, or (=emulated) with the CUDA back end on an emulated GPU in
// place of the CPU's.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "backend/backend.h"
#include "backend/checked/checked_backend.h"
#include "base/error.h"

namespace syncbn::backend {

// Of programs that are linked with it (tests/emulation/test_device.cc).
inline std::unique_ptr<Backend> (*make_emulated_backend)() = nullptr;

// Throws INVALID_ARGUMENT when the variable names another. `make` is MakeReferenceBackend or
// MakeCpuBackend; the emulated GPU takes the place of the latter.
inline std::unique_ptr<Backend> OnTestDevice(std::unique_ptr<Backend> (*make)(Allocate)) {
  const char* const device = std::getenv("SYNCBN_TEST_DEVICE");
  if (device == nullptr) return make(AllocateAligned);
  if (device == std::string_view("checked")) return MakeCheckedBackend(make);
  if (device == std::string_view("emulated") && make_emulated_backend != nullptr) {
    std::unique_ptr<Backend> wanted = make(AllocateAligned);
    return wanted->name() == "reference" ? std::move(wanted) : make_emulated_backend();
  }
  throw Error(ErrorCode::kInvalidArgument,
              "SYNCBN_TEST_DEVICE is '" + std::string(device) +
                  "': set it to 'checked', or to 'emulated' where the program has that, "
                  "or not at all");
}

}  // namespace syncbn::backend
