// One training step of a small residual net, by calls of an executor: operations in the order and
// with the ownership that a model uses, for tests of what an executor keeps between them.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/executor.h"

namespace syncbn::backend {

// All intermediate results, gradients and losses, for the first `samples` of a fixed batch; nothing
// in them depends on who calls, or when. `scale` multiplies the weights.
std::vector<Tensor> SmallStep(Executor& executor, int64_t samples, double scale = 1);

}  // namespace syncbn::backend
