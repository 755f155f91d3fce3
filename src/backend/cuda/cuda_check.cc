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

std::string PciText(const cudaDeviceProp& properties) {
  char text[32];
  std::snprintf(
      text, sizeof text, "%08X:%02X:%02X.0", static_cast<unsigned>(properties.pciDomainID),
      static_cast<unsigned>(properties.pciBusID), static_cast<unsigned>(properties.pciDeviceID));
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
  // 700 to 719: what a kernel has done. Every later call says it, too.
  if (error >= cudaErrorIllegalAddress && error <= cudaErrorLaunchFailure) {
    text += "; the kernel that failed may be an earlier one: CUDA_LAUNCH_BLOCKING=1 names it";
  }
  if (error == cudaErrorDevicesUnavailable) {
    throw Error(ErrorCode::kFailedPrecondition,
                text +
                    ": another process may have the GPU for itself: one rank for each, or "
                    "`nvidia-smi -c DEFAULT` (its compute mode)");
  }
  throw Error(ErrorCode::kInternal, std::move(text));
}

}  // namespace syncbn::backend::cuda
