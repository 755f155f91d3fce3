// Samples of steps and steps of samples.
#include <cstring>

#include "backend/host/host_executor.h"
#include "backend/shape_checks.h"
#include "base/check.h"

namespace syncbn::backend::host {
namespace {

// What lies behind the two first axes.
size_t BlockBytes(const Shape& x, DType dtype) {
  size_t bytes = SizeOf(dtype);
  for (int axis = 2; axis < x.rank(); ++axis) bytes *= static_cast<size_t>(x[axis]);
  return bytes;
}

}  // namespace

Tensor HostExecutor::SwapLeadingAxes(const Tensor& x, int64_t keep) {
  Tensor y = New(SwappedShape(x.shape(), keep), x.dtype());
  if (y.elements() == 0) return y;
  const size_t block = BlockBytes(x.shape(), x.dtype());
  const int64_t a = x.shape()[0], b = x.shape()[1];
  const std::byte* const from = x.Bytes().data();
  std::byte* to = y.Bytes().data();
  for (int64_t j = 0; j < keep; ++j) {
    for (int64_t i = 0; i < a; ++i, to += block) {
      std::memcpy(to, from + static_cast<size_t>(i * b + j) * block, block);
    }
  }
  return y;
}

Tensor HostExecutor::SwapLeadingAxesBackward(const Shape& x_shape, const Tensor& dy) {
  const int64_t a = x_shape[0], b = x_shape[1], keep = dy.shape()[0];
  SYNCBN_CHECK_EQ(dy.elements(), SwappedShape(x_shape, keep).elements())
      << "gradient of swapped axes";
  Tensor dx = New(x_shape, dy.dtype());
  if (dx.elements() == 0) return dx;
  const size_t block = BlockBytes(x_shape, dy.dtype());
  const std::byte* const from = dy.Bytes().data();
  std::byte* to = dx.Bytes().data();
  for (int64_t i = 0; i < a; ++i) {
    for (int64_t j = 0; j < keep; ++j, to += block) {
      std::memcpy(to, from + static_cast<size_t>(j * a + i) * block, block);
    }
    std::memset(to, 0, static_cast<size_t>(b - keep) * block);
    to += static_cast<size_t>(b - keep) * block;
  }
  return dx;
}

}  // namespace syncbn::backend::host
