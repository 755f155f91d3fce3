#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/not_yet.h"

namespace syncbn::backend::cuda {

Tensor CudaExecutor::Conv2dForward(const Conv2dSpec& spec, const Tensor& x, const Tensor& weight, const Tensor& bias) { NotYet("Conv2dForward"); }
Tensor CudaExecutor::Conv2dBackwardInput(const Conv2dSpec& spec, const Shape& x_shape, const Tensor& dy, const Tensor& weight) { NotYet("Conv2dBackwardInput"); }
void CudaExecutor::Conv2dBackwardWeights(const Conv2dSpec& spec, const Tensor& x, const Tensor& dy, GradientOut dweight, GradientOut dbias) { NotYet("Conv2dBackwardWeights"); }
Tensor CudaExecutor::LinearForward(const Tensor& x, const Tensor& weight, const Tensor& bias) { NotYet("LinearForward"); }
Tensor CudaExecutor::LinearBackwardInput(const Tensor& dy, const Tensor& weight) { NotYet("LinearBackwardInput"); }
void CudaExecutor::LinearBackwardWeights(const Tensor& x, const Tensor& dy, GradientOut dweight, GradientOut dbias) { NotYet("LinearBackwardWeights"); }
void CudaExecutor::SetWeightsVersion(WeightsVersion version) { NotYet("SetWeightsVersion"); }

}  // namespace syncbn::backend::cuda
