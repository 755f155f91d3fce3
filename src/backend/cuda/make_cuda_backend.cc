// The CUDA back end of a program that has it.
#include <vector>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/gpu_report.h"
#include "base/error.h"

namespace syncbn::backend {

std::unique_ptr<Backend> MakeCudaBackend(int local_rank) {
  const GpuReport report = DescribeGpus();
  std::vector<int> usable;
  for (const Gpu& gpu : report.gpus) {
    if (gpu.unfit.empty()) usable.push_back(gpu.ordinal);
  }
  if (usable.empty()) {
    throw Error(ErrorCode::kFailedPrecondition,
                "no GPU can be used: " + report.problem + "; --backend cpu needs none");
  }
  return cuda::MakeBackend(usable[static_cast<size_t>(local_rank) % usable.size()]);
}

bool HasCuda() {
  return true;
}

GpuReport DescribeGpus() {
  return cuda::ReportGpus();
}

}  // namespace syncbn::backend
