// The stream on which reductions of a GPU are merged.
#pragma once

#include "backend/cuda/cuda_stream.h"
#include "backend/cuda/kernels/merge.h"
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
  // into <- a tree of messages (kernels/merge.h).
  void MergeTree(const MergeContent& content, std::span<const Tensor> leaves,
                 std::span<const uint8_t> merges, Tensor& into);
  template <typename T>
  void SumTree(const kernels::MergeTree& tree, Tensor& into);
  void MergeTwo(const MergeContent& content, Tensor& into, const Tensor& from);
  template <typename T>
  void AddInto(Tensor& into, const Tensor& from);
};

}  // namespace syncbn::backend::cuda
