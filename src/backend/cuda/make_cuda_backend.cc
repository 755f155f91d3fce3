// The CUDA back end of a program that has it.
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/cuda_device.h"
#include "base/error.h"

namespace syncbn::backend {

std::unique_ptr<Backend> MakeCudaBackend(int local_rank) {
  return cuda::MakeBackend(local_rank % cuda::CountDevices());
}
bool HasCuda() {
  return true;
}
int CountGpus() {
  try {
    return cuda::CountDevices();
  } catch (const Error&) {
    return 0;
  }
}

}  // namespace syncbn::backend
