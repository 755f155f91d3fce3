#include "backend/cuda/cuda_merge_stream.h"

#include "backend/cuda/kernels/merge.h"
#include "base/unknown_value.h"

namespace syncbn::backend::cuda {

template <typename T>
void CudaMergeStream::AddInto(Tensor& into, const Tensor& from) {
  T* const to = Out<T>(into);
  const T* const other = In<T>(from);
  Run("merge: sum",
      [&](cudaStream_t stream) { kernels::AddInto(stream, to, other, into.elements()); });
}

void CudaMergeStream::Merge(const MergeContent& content, std::span<Tensor> values,
                            std::span<const MergeStep> steps) {
  CheckContent(content);
  for (const MergeStep& step : steps) {
    MergeTwo(content, values[static_cast<size_t>(step.into)],
             values[static_cast<size_t>(step.from)]);
  }
}

void CudaMergeStream::MergeTwo(const MergeContent& content, Tensor& into, const Tensor& from) {
  SYNCBN_CHECK_EQ(into.elements(), content.elements) << "a merged message";
  SYNCBN_CHECK_EQ(from.elements(), content.elements) << "a message to be merged";
  switch (content.operation) {
    case MergeOperation::kSum:
      switch (content.dtype) {
        case DType::kFloat32:
          return AddInto<float>(into, from);
        case DType::kFloat64:
          return AddInto<double>(into, from);
        case DType::kInt32:
          return AddInto<int32_t>(into, from);
        case DType::kInt64:
          return AddInto<int64_t>(into, from);
        case DType::kUint8:
          break;  // CheckContent has refused it
      }
      ThrowUnknownValue("sum of elements", static_cast<int>(content.dtype));
    case MergeOperation::kMergeMoments: {
      const int64_t one = 1;
      double* const to = Out<double>(into);
      const double* const other = In<double>(from);
      return Run("merge: moments", [&](cudaStream_t stream) {
        kernels::MergeBlocks(stream, content.channels, content.elements, {&one, 1}, other, to);
      });
    }
  }
  ThrowUnknownValue("reduction", static_cast<int>(content.operation));
}

}  // namespace syncbn::backend::cuda
