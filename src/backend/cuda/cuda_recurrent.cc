#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/not_yet.h"

namespace syncbn::backend::cuda {

Tensor CudaExecutor::SwapLeadingAxes(const Tensor& x, int64_t keep) { NotYet("SwapLeadingAxes"); }
Tensor CudaExecutor::SwapLeadingAxesBackward(const Shape& x_shape, const Tensor& dy) { NotYet("SwapLeadingAxesBackward"); }
void CudaExecutor::RnnForward(const Tensor& a, const Tensor& b, Tensor& state) { NotYet("RnnForward"); }
void CudaExecutor::RnnBackward(const Tensor& state, const Tensor& dstate, Tensor& dsum) { NotYet("RnnBackward"); }
LstmCell CudaExecutor::LstmCellForward(const Tensor& a, Tensor b, const Tensor& before) { NotYet("LstmCellForward"); }
Tensor CudaExecutor::LstmStateForward(const Tensor& gates, Tensor u, Tensor& state) { NotYet("LstmStateForward"); }
Tensor CudaExecutor::LstmStateBackward(const Tensor& gates, const Tensor& tanh_u, const Tensor& dstate) { NotYet("LstmStateBackward"); }
Tensor CudaExecutor::LstmCellBackward(const Tensor& gates, const Tensor& before, const Tensor& tanh_u, const Tensor& dstate, Tensor dcell, Tensor& dsum) { NotYet("LstmCellBackward"); }

}  // namespace syncbn::backend::cuda
