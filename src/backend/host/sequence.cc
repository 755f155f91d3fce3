// Samples of steps and steps of samples.
#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "backend/host/host_executor.h"
#include "base/check.h"

namespace syncbn::backend::host {
namespace {

// The shape [keep, A, ...] of x's [A, B, ...].
Shape Swapped(const Shape& x, int64_t keep) {
  SYNCBN_CHECK_GE(x.rank(), 2) << "axes to be swapped";
  SYNCBN_CHECK(keep >= 0 && keep <= x[1]) << keep << " of the second axis of " << x;
  std::array<int64_t, Shape::kMaxRank> extents{};
  std::ranges::copy(x.extents(), extents.begin());
  extents[0] = keep;
  extents[1] = x[0];
  return Shape(std::span<const int64_t>(extents).first(static_cast<size_t>(x.rank())));
}

// What lies behind the two first axes.
size_t BlockBytes(const Shape& x, DType dtype) {
  size_t bytes = SizeOf(dtype);
  for (int axis = 2; axis < x.rank(); ++axis) bytes *= static_cast<size_t>(x[axis]);
  return bytes;
}

}  // namespace

Tensor HostExecutor::SwapLeadingAxes(const Tensor& x, int64_t keep) {
  Tensor y = New(Swapped(x.shape(), keep), x.dtype());
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
  SYNCBN_CHECK_EQ(dy.elements(), Swapped(x_shape, keep).elements()) << "gradient of swapped axes";
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
