#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/kernels/elementwise.h"
#include "backend/cuda/not_yet.h"

namespace syncbn::backend::cuda {

Tensor CudaExecutor::ActivationForward(ActivationKind kind, Tensor x) { NotYet("ActivationForward"); }
Tensor CudaExecutor::ActivationBackward(ActivationKind kind, const Tensor& kept, Tensor dy) { NotYet("ActivationBackward"); }
Tensor CudaExecutor::Add(Tensor a, const Tensor& b) {
  SYNCBN_CHECK_EQ(a.shape(), b.shape()) << "sum";
  Tensor sum = a.use_count() == 1 ? a : New(a.shape());
  const float *left = In<float>(a), *right = In<float>(b);
  float* const to = Out<float>(sum);
  Run("add", [&](cudaStream_t stream) { kernels::Add(stream, left, right, to, sum.elements()); });
  return sum;
}
Tensor CudaExecutor::Dropout(Tensor x, std::span<const RandomKey> keys, double probability) { NotYet("Dropout"); }
Tensor CudaExecutor::Noise(const NoiseSpec& noise, Tensor x, std::span<const RandomKey> keys) { NotYet("Noise"); }
Tensor CudaExecutor::NoiseBackward(const NoiseSpec& noise, Tensor dy, std::span<const RandomKey> keys) { NotYet("NoiseBackward"); }
Tensor CudaExecutor::ConcatChannels(std::span<const Tensor> parts) { NotYet("ConcatChannels"); }
Tensor CudaExecutor::SliceChannels(const Tensor& x, int64_t begin, int64_t channels) { NotYet("SliceChannels"); }

}  // namespace syncbn::backend::cuda
