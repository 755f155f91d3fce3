#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/not_yet.h"

namespace syncbn::backend::cuda {

void CudaExecutor::MergeMoments(std::span<const int64_t> channels, std::span<const int64_t> sizes, const Tensor& from, Tensor& into) { NotYet("MergeMoments"); }
void CudaExecutor::MergeChannels(int64_t groups, Tensor& moments) { NotYet("MergeChannels"); }
Statistics CudaExecutor::FinishMoments(const Tensor& moments, std::span<const int64_t> repeats, double epsilon) { NotYet("FinishMoments"); }
Tensor CudaExecutor::InverseStd(const Tensor& variance, double epsilon) { NotYet("InverseStd"); }
void CudaExecutor::AffineGradients(const Tensor& sum_dy, const Tensor& sum_dy_xhat, GradientOut dgamma, GradientOut dbeta) { NotYet("AffineGradients"); }
InputTerms CudaExecutor::BatchInputTerms(const Tensor& sum_dy, const Tensor& sum_dy_xhat, const Tensor& counts, const Tensor& gamma, std::span<const int64_t> sizes) { NotYet("BatchInputTerms"); }
InputTerms CudaExecutor::GroupInputTerms(const Tensor& sum_dy, const Tensor& sum_dy_xhat, const Tensor& counts, const Tensor& gamma, int64_t groups) { NotYet("GroupInputTerms"); }
Renorm CudaExecutor::Renormalize(const RenormLimits& limits, const Tensor& running_mean, const Tensor& running_inv_std, Statistics& statistics) { NotYet("Renormalize"); }
void CudaExecutor::RenormInputTerms(const Renorm& renorm, InputTerms& terms) { NotYet("RenormInputTerms"); }

}  // namespace syncbn::backend::cuda
