// A back end of the host as a device of its own, so that a test shows who treats memory of devices as memory of
// the host.
//
// Tensors live at addresses at which nobody can read or write, in any thread, at any time; operations get at the
// same memory through a second mapping. They refuse tensors of the host, as a device would. Results are those of
// the back end inside, to the last bit.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace syncbn::backend {

// `make` is MakeCpuBackend or MakeReferenceBackend.
std::unique_ptr<Backend> MakeCheckedBackend(std::unique_ptr<Backend> (*make)(Allocate));

}  // namespace syncbn::backend
