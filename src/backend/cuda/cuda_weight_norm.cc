#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/not_yet.h"

namespace syncbn::backend::cuda {

WeightNormResult CudaExecutor::WeightNormForward(const Tensor& v, const Tensor& gain) { NotYet("WeightNormForward"); }
void CudaExecutor::WeightNormBackward(const Tensor& v, const Tensor& gain, const Tensor& norms, const Tensor& dweight, GradientOut dv, GradientOut dgain) { NotYet("WeightNormBackward"); }

}  // namespace syncbn::backend::cuda
