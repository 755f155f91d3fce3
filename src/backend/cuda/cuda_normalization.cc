#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/not_yet.h"

namespace syncbn::backend::cuda {

void CudaExecutor::Moments(const RowLayout& layout, const Tensor& x, Tensor& moments) { NotYet("Moments"); }
Tensor CudaExecutor::NormalizeForward(const Normalization& norm, const Tensor& x, const Tensor& residual) { NotYet("NormalizeForward"); }
void CudaExecutor::NormalizeBackwardSums(const Normalization& norm, const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& sum_dy, Tensor& sum_dy_xhat) { NotYet("NormalizeBackwardSums"); }
Tensor CudaExecutor::NormalizeBackwardInput(const Normalization& norm, const Tensor& x, const Tensor& y, Tensor dy, const InputTerms& terms, Tensor* dresidual) { NotYet("NormalizeBackwardInput"); }

}  // namespace syncbn::backend::cuda
