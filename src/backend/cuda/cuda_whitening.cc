#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/not_yet.h"

namespace syncbn::backend::cuda {

void CudaExecutor::CoMoments(const WhiteningSpec& spec, const Tensor& x, Tensor& moments) { NotYet("CoMoments"); }
Whitening CudaExecutor::WhitenByMoments(const WhiteningSpec& spec, const Tensor& moments) { NotYet("WhitenByMoments"); }
Whitening CudaExecutor::WhitenByRunning(const WhiteningSpec& spec, const Tensor& running) { NotYet("WhitenByRunning"); }
void CudaExecutor::Whiten(const WhiteningSpec& spec, const Whitening& whitening, const Tensor& x, Tensor& xhat) { NotYet("Whiten"); }
void CudaExecutor::WhitenBackwardSums(const WhiteningSpec& spec, const Whitening& whitening, const Tensor& x, const Tensor& dxhat, Tensor& sums) { NotYet("WhitenBackwardSums"); }
void CudaExecutor::WhitenBackwardInput(const WhiteningSpec& spec, const Whitening& whitening, const Tensor& sums, const Tensor& x, const Tensor& dxhat, Tensor& dx) { NotYet("WhitenBackwardInput"); }

}  // namespace syncbn::backend::cuda
