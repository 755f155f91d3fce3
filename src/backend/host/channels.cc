// Channels of several tensors beside each other, and some of one.
#include <cstring>

#include "backend/host/host_executor.h"
#include "backend/shape_checks.h"

namespace syncbn::backend::host {
namespace {

// `bytes` of each of `rows` rows.
void CopyRows(const std::byte* from, size_t from_row, std::byte* to, size_t to_row, size_t bytes,
              int64_t rows) {
  for (int64_t row = 0; row < rows; ++row, from += from_row, to += to_row) {
    std::memcpy(to, from, bytes);
  }
}

}  // namespace

Tensor HostExecutor::ConcatChannels(std::span<const Tensor> parts) {
  const Shape shape = ConcatenatedShape(parts);
  Tensor y = New(shape, parts[0].dtype());
  if (y.elements() == 0) return y;
  const size_t size = SizeOf(y.dtype()), row = static_cast<size_t>(shape.channels()) * size;
  std::byte* to = y.Bytes().data();
  for (const Tensor& part : parts) {
    const size_t bytes = static_cast<size_t>(part.shape().channels()) * size;
    CopyRows(part.Bytes().data(), bytes, to, row, bytes, shape.rows());
    to += bytes;
  }
  return y;
}

Tensor HostExecutor::SliceChannels(const Tensor& x, int64_t begin, int64_t channels) {
  Tensor y = New(SlicedShape(x.shape(), begin, channels), x.dtype());
  if (y.elements() == 0) return y;
  const size_t size = SizeOf(x.dtype()), bytes = static_cast<size_t>(channels) * size;
  CopyRows(x.Bytes().data() + static_cast<size_t>(begin) * size,
           static_cast<size_t>(x.shape().channels()) * size, y.Bytes().data(), bytes, bytes,
           x.shape().rows());
  return y;
}

}  // namespace syncbn::backend::host
