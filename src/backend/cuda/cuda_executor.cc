#include "backend/cuda/cuda_executor.h"

namespace syncbn::backend::cuda {

CudaExecutor::CudaExecutor(const CudaDevice& device, Precision precision)
    : CudaStream(device), precision_(precision), libraries_(MakeLibraries(core(), precision)) {}

MemoryUse CudaExecutor::Memory() const {
  const StreamHandle& handle = core().handle();
  return {
      .in_use = handle.in_use(), .peak = handle.peak(), .held = core().device().memory().Held()};
}

}  // namespace syncbn::backend::cuda
