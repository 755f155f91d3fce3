// A GPU as a device on which tensors live.
#pragma once

#include <string>

#include "backend/cuda/device_memory.h"
#include "tensor/device.h"

namespace syncbn::backend::cuda {

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int ordinal);

  std::string_view name() const override { return name_; }
  void CopyToHost(const void* from, void* to, size_t bytes) const override;

  int ordinal() const { return ordinal_; }
  DeviceMemory& memory() const { return memory_; }
  // As nvidia-smi shows it, "GPU-3b0c...": no two GPUs have the same, on whatever hosts.
  std::string Uuid() const;
  // Where it is in its host, "00000000:1B:00.0". Parts of one GPU (MIG) are in the same place.
  std::string Pci() const;
  // "Emulated, compute capability 9.0, 4 multiprocessors"
  std::string Description() const;

 private:
  const int ordinal_;
  const std::string name_;
  mutable DeviceMemory memory_;
};

// Of this process, in CUDA's order. Throws INVALID_ARGUMENT for one that is not there.
const CudaDevice& DeviceAt(int ordinal);

}  // namespace syncbn::backend::cuda
