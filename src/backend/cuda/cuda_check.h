// Calls of CUDA, checked: what failed, on which device, for what.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

namespace syncbn::backend::cuda {

// Throws where `error` is not success: RESOURCE_EXHAUSTED for memory, INTERNAL otherwise. `what`
// names the call or kernel; layer and step are added by who knows them. A kernel's error may be
// shown by any later call: the message says so.
void Check(cudaError_t error, int device, const char* what);

// As nvidia-smi shows them: "GPU-01234567-89ab-cdef-0123-456789abcdef", "00000000:1B:00.0".
std::string UuidText(const cudaUUID_t& uuid);
std::string PciText(const cudaDeviceProp& properties);
// "cuda:0"
std::string DeviceName(int device);

}  // namespace syncbn::backend::cuda
