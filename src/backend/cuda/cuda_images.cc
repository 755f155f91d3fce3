#include <limits>

#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/kernels/images.h"
#include "backend/shape_checks.h"

namespace syncbn::backend::cuda {

Tensor CudaExecutor::MakeImages(const RawImages& raw) {
  static_assert(sizeof(kernels::ImageChange) == ImageChange::kNumbers * sizeof(int32_t));
  CheckRawImages(raw);
  const Shape& shape = raw.pixels.shape();
  SYNCBN_CHECK_EQ(reinterpret_cast<uintptr_t>(In<int32_t>(raw.changes)) % 16, 0U)
      << "alignment of the changes of images";
  SYNCBN_CHECK_LE(shape.elements(), std::numeric_limits<int32_t>::max())
      << "bytes of the images " << shape << " of one batch";
  Tensor images = New(shape);
  ForElements(images, [&](auto element) {
    using T = decltype(element);
    const kernels::RawImages from{
        .pixels = In<uint8_t>(raw.pixels),
        .changes = reinterpret_cast<const kernels::ImageChange*>(In<int32_t>(raw.changes)),
        .values = In<float>(raw.values),
        .height = static_cast<uint32_t>(shape[1]),
        .width = static_cast<uint32_t>(shape[2]),
        .channels = static_cast<uint32_t>(shape[3])};
    T* const to = Out<T>(images);
    Run("images",
        [&](cudaStream_t stream) { kernels::MakeImages(stream, from, to, shape.elements()); });
  });
  return images;
}

}  // namespace syncbn::backend::cuda
