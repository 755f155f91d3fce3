// The CUDA back end on one device of this process.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace syncbn::backend::cuda {

// Throws INVALID_ARGUMENT where there is no GPU of this number.
std::unique_ptr<Backend> MakeBackend(int device = 0);

}  // namespace syncbn::backend::cuda
