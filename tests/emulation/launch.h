// Kernels on an emulated stream.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>

#include "tests/emulation/block.h"

namespace syncbn::emulation {

// Gives the stream a kernel to run. What it moved is held against grid.bytes when it has run.
void LaunchGrid(cudaStream_t stream, const Grid& grid, std::function<void()> kernel);

}  // namespace syncbn::emulation
