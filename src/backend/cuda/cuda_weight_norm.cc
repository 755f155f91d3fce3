#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/kernels/weight_norm.h"

namespace syncbn::backend::cuda {
namespace {

int64_t Inputs(const Tensor& v) {
  return v.shape()[0] == 0 ? 0 : v.elements() / v.shape()[0];
}

}  // namespace

WeightNormResult CudaExecutor::WeightNormForward(const Tensor& v, const Tensor& gain) {
  const int64_t outputs = v.shape()[0];
  SYNCBN_CHECK_EQ(gain.elements(), outputs) << "gain of a weight norm";
  WeightNormResult result{.weight = NewLike(v), .norms = New({outputs}, DType::kFloat64)};
  const kernels::WeightNormArguments arguments{
      .v = In<float>(v), .gain = In<float>(gain), .outputs = outputs, .inputs = Inputs(v)};
  float* const weight = Out<float>(result.weight);
  double* const norms = Out<double>(result.norms);
  Run("weight norm",
      [&](cudaStream_t stream) { kernels::WeightNormForward(stream, arguments, weight, norms); });
  return result;
}

void CudaExecutor::WeightNormBackward(const Tensor& v, const Tensor& gain, const Tensor& norms,
                                      const Tensor& dweight, GradientOut dv, GradientOut dgain) {
  const int64_t outputs = v.shape()[0];
  SYNCBN_CHECK_EQ(gain.elements(), outputs) << "gain of a weight norm";
  SYNCBN_CHECK_EQ(norms.elements(), outputs) << "norms of a weight norm";
  SYNCBN_CHECK_EQ(dweight.elements(), v.elements()) << "gradient of a weight norm";
  if (dv.tensor.defined())
    SYNCBN_CHECK_EQ(dv.tensor.elements(), v.elements()) << "gradient of a weight norm";
  if (dgain.tensor.defined())
    SYNCBN_CHECK_EQ(dgain.tensor.elements(), outputs) << "gradient of a gain";
  const kernels::WeightNormArguments arguments{
      .v = In<float>(v), .gain = In<float>(gain), .outputs = outputs, .inputs = Inputs(v)};
  const kernels::WeightNormGradients gradients{.dv = Out<float>(dv.tensor),
                                               .accumulate_dv = dv.accumulate,
                                               .dgain = Out<float>(dgain.tensor),
                                               .accumulate_dgain = dgain.accumulate};
  const double* const from = In<double>(norms);
  const float* const gradient = In<float>(dweight);
  Run("weight norm backward", [&](cudaStream_t stream) {
    kernels::WeightNormBackward(stream, arguments, from, gradient, gradients);
  });
}

}  // namespace syncbn::backend::cuda
