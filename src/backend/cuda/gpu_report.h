// What this machine's GPUs, driver and libraries are, and why they cannot be used.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "backend/gpus.h"

namespace syncbn::backend::cuda {

GpuReport ReportGpus();

// Of one, as CUDA describes it; `unfit` where kernels were compiled for none that old.
Gpu GpuOf(int ordinal, const cudaDeviceProp& properties);

// Why CUDA finds no GPU, and what to do: what cudaGetDeviceCount gave, and the versions, as 1000 *
// major + 10 * minor, that the driver supports (0: there is no driver) and that this program needs.
std::string WhyNoGpu(cudaError_t error, int driver, int runtime);

}  // namespace syncbn::backend::cuda
