#include "backend/cuda/cuda_check.h"

#include <cstdio>

#include "base/error.h"

namespace syncbn::backend::cuda {

std::string DeviceName(int device) {
  return "cuda:" + std::to_string(device);
}

std::string UuidText(const cudaUUID_t& uuid) {
  std::string text = "GPU";
  for (int i = 0; i < 16; ++i) {
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    char byte[3];
    std::snprintf(byte, sizeof byte, "%02x", static_cast<unsigned char>(uuid.bytes[i]));
    text += byte;
  }
  return text;
}

void Check(cudaError_t error, int device, const char* what) {
  if (error == cudaSuccess) return;
  std::string text = DeviceName(device) + ": " + what + ": " + cudaGetErrorString(error) + " (" +
                     cudaGetErrorName(error) + ")";
  cudaGetLastError();  // so that it is not taken for the next call's
  if (error == cudaErrorMemoryAllocation) {
    throw Error(ErrorCode::kResourceExhausted, std::move(text));
  }
  // From 700 on: what a kernel has done. Every later call says it, too.
  if (error >= 700) {
    text += "; the kernel that failed may be an earlier one: CUDA_LAUNCH_BLOCKING=1 names it";
  }
  throw Error(ErrorCode::kInternal, std::move(text));
}

}  // namespace syncbn::backend::cuda
