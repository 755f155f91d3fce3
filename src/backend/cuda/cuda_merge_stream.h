// The stream on which reductions of a GPU are merged.
#pragma once

#include "backend/cuda/cuda_stream.h"
#include "backend/merge_stream.h"

namespace syncbn::backend::cuda {

class CudaMergeStream final : public CudaStream<MergeStream> {
 public:
  using CudaStream::CudaStream;
  void Merge(const MergeContent& content, Tensor& into, const Tensor& from) override;

 private:
  template <typename T>
  void AddInto(Tensor& into, const Tensor& from);
};

}  // namespace syncbn::backend::cuda
