// The merge stream of the host: what every back end hands out whose tensors live there, and what a reducer
// uses that was given no back end.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace syncbn::backend {

std::unique_ptr<MergeStream> MakeHostMergeStream(Allocate allocate = AllocateAligned);

}  // namespace syncbn::backend
