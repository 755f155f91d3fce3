// Channels of several tensors beside each other, and some of one.
#include <cstring>

#include "backend/host/host_executor.h"

namespace syncbn::backend::host {
namespace {

Shape WithChannels(const Shape& shape, int64_t channels) {
  std::vector<int64_t> extents(shape.extents().begin(), shape.extents().end());
  extents.back() = channels;
  return Shape(extents);
}

// `bytes` of each of `rows` rows.
void CopyRows(const std::byte* from, size_t from_row, std::byte* to, size_t to_row, size_t bytes,
              int64_t rows) {
  for (int64_t row = 0; row < rows; ++row, from += from_row, to += to_row) {
    std::memcpy(to, from, bytes);
  }
}

}  // namespace

Tensor HostExecutor::ConcatChannels(std::span<const Tensor> parts) {
  SYNCBN_CHECK(!parts.empty()) << "parts of a concatenation";
  int64_t channels = 0;
  for (const Tensor& part : parts) channels += part.shape().channels();
  const Shape shape = WithChannels(parts[0].shape(), channels);
  Tensor y = New(shape, parts[0].dtype());
  if (y.elements() == 0) return y;
  const size_t size = SizeOf(y.dtype()), row = static_cast<size_t>(channels) * size;
  std::byte* to = y.Bytes().data();
  for (const Tensor& part : parts) {
    SYNCBN_CHECK_EQ(WithChannels(part.shape(), channels), shape) << "parts of a concatenation";
    const size_t bytes = static_cast<size_t>(part.shape().channels()) * size;
    CopyRows(part.Bytes().data(), bytes, to, row, bytes, shape.rows());
    to += bytes;
  }
  return y;
}

Tensor HostExecutor::SliceChannels(const Tensor& x, int64_t begin, int64_t channels) {
  SYNCBN_CHECK(0 <= begin && channels > 0 && begin + channels <= x.shape().channels())
      << "channels " << begin << " to " << begin + channels << " of " << x.shape();
  Tensor y = New(WithChannels(x.shape(), channels), x.dtype());
  if (y.elements() == 0) return y;
  const size_t size = SizeOf(x.dtype()), bytes = static_cast<size_t>(channels) * size;
  CopyRows(x.Bytes().data() + static_cast<size_t>(begin) * size,
           static_cast<size_t>(x.shape().channels()) * size, y.Bytes().data(), bytes, bytes,
           x.shape().rows());
  return y;
}

}  // namespace syncbn::backend::host
