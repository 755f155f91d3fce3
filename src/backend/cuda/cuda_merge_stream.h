// The stream on which reductions of a GPU are merged.
#pragma once

#include "backend/cuda/cuda_stream.h"
#include "backend/merge_stream.h"

namespace syncbn::backend::cuda {

class CudaMergeStream final : public CudaStream<MergeStream> {
 public:
  using CudaStream::CudaStream;
  // For libraries that are given work in its order.
  using CudaStream::core;
  using MergeStream::Merge;
  void Merge(const MergeContent& content, std::span<Tensor> values,
             std::span<const MergeStep> steps) override;

 private:
  void MergeTwo(const MergeContent& content, Tensor& into, const Tensor& from);
  template <typename T>
  void AddInto(Tensor& into, const Tensor& from);
};

}  // namespace syncbn::backend::cuda
