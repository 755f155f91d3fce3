#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/not_yet.h"

namespace syncbn::backend::cuda {

PoolResult CudaExecutor::Pool2dForward(const Pool2dSpec& spec, const Tensor& x) { NotYet("Pool2dForward"); }
Tensor CudaExecutor::Pool2dBackward(const Pool2dSpec& spec, const Shape& x_shape, const Tensor& dy, const Tensor& positions) { NotYet("Pool2dBackward"); }
Tensor CudaExecutor::GlobalAveragePoolForward(const Tensor& x) { NotYet("GlobalAveragePoolForward"); }
Tensor CudaExecutor::GlobalAveragePoolBackward(const Shape& x_shape, const Tensor& dy) { NotYet("GlobalAveragePoolBackward"); }
Tensor CudaExecutor::FlattenToChannelsFirst(const Tensor& x) { NotYet("FlattenToChannelsFirst"); }
Tensor CudaExecutor::UnflattenFromChannelsFirst(const Shape& x_shape, const Tensor& dy) { NotYet("UnflattenFromChannelsFirst"); }

}  // namespace syncbn::backend::cuda
