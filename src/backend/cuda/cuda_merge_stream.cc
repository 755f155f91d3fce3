#include "backend/cuda/cuda_merge_stream.h"

#include "backend/cuda/not_yet.h"

namespace syncbn::backend::cuda {

void CudaMergeStream::Merge(const MergeContent& content, Tensor& into, const Tensor& from) { NotYet("Merge"); }

}  // namespace syncbn::backend::cuda
