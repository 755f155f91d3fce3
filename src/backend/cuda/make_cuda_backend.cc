// The CUDA back end of the program that trains on a GPU.
#include "backend/cuda/cuda_backend.h"

namespace syncbn::backend {

std::unique_ptr<Backend> MakeCudaBackend() { return cuda::MakeBackend(); }

}  // namespace syncbn::backend
