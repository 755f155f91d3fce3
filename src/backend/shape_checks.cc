#include "backend/shape_checks.h"

#include <algorithm>
#include <array>

#include "backend/merge.h"
#include "base/check.h"

namespace syncbn::backend {
namespace {

// Of a sample: words are drawn in blocks of 4, which are counted in 32 bits.
constexpr int64_t kMostDrawn = int64_t{1} << 34;

Shape WithChannels(const Shape& shape, int64_t channels) {
  std::array<int64_t, Shape::kMaxRank> extents{};
  std::ranges::copy(shape.extents(), extents.begin());
  const auto rank = static_cast<size_t>(shape.rank());
  extents[rank - 1] = channels;
  return Shape(std::span<const int64_t>(extents).first(rank));
}

}  // namespace

void CheckRawImages(const RawImages& raw) {
  const Shape& shape = raw.pixels.shape();
  SYNCBN_CHECK_EQ(shape.rank(), 4) << "pixels of images";
  SYNCBN_CHECK_EQ(raw.pixels.dtype(), DType::kUint8) << "pixels of images " << shape;
  SYNCBN_CHECK_EQ(raw.changes.shape(), (Shape{shape[0], ImageChange::kNumbers}))
      << "changes of images " << shape;
  SYNCBN_CHECK_EQ(raw.values.shape(), (Shape{shape[3], 256})) << "values of images " << shape;
}

void CheckElements(const RowLayout& layout, const Tensor& tensor, const char* what) {
  SYNCBN_CHECK_EQ(tensor.elements(), layout.rows() * layout.channels)
      << what << " of a normalization over " << layout.segments << " segments of "
      << layout.rows_per_segment() << " rows of " << layout.channels << " channels";
}

void CheckStatistic(const RowLayout& layout, const Tensor& tensor, const char* what) {
  SYNCBN_CHECK_EQ(tensor.elements(), layout.segments * layout.channels)
      << what << " for each of " << layout.segments << " segments and " << layout.channels
      << " channels";
}

void CheckNormalization(const Normalization& norm, const Tensor& x) {
  CheckElements(norm.layout, x, "input");
  CheckStatistic(norm.layout, norm.mean, "mean");
  CheckStatistic(norm.layout, norm.inv_std, "inv_std");
  for (const Tensor* parameter : {&norm.gamma, &norm.beta}) {
    if (!parameter->defined()) continue;
    SYNCBN_CHECK_EQ(parameter->elements(), norm.layout.channels) << "scale or shift of a norm";
  }
}

void CheckGradient(const Normalization& norm, const Tensor& y, const Tensor& dy) {
  CheckElements(norm.layout, dy, "gradient");
  if (y.defined()) CheckElements(norm.layout, y, "output");
}

void CheckTerms(const RowLayout& layout, const InputTerms& terms) {
  SYNCBN_CHECK_EQ(terms.mean_dy.defined(), terms.mean_dy_xhat.defined())
      << "parts of a normalization's backward pass";
  if (!terms.mean_dy.defined()) return;
  CheckStatistic(layout, terms.mean_dy, "mean of gradients");
  CheckStatistic(layout, terms.mean_dy_xhat, "mean of gradients times xhat");
}

void CheckMoments(const RowLayout& layout, const Tensor& x, const Tensor& moments) {
  CheckElements(layout, x, "input");
  SYNCBN_CHECK_EQ(moments.elements(), layout.segments * MomentsElements(layout.channels))
      << "moments of a normalization";
}

void CheckPool2dBackward(const Pool2dSpec& spec, const Shape& x_shape, const Tensor& dy,
                         const Tensor& positions) {
  SYNCBN_CHECK_EQ(dy.shape(), spec.OutputShape(x_shape)) << "gradient of a pooling";
  if (spec.kind == PoolKind::kMax)
    SYNCBN_CHECK_EQ(positions.elements(), dy.elements()) << "positions of a max pooling";
}

Shape GlobalPoolShape(const Shape& x) {
  SYNCBN_CHECK_EQ(x.rank(), 4) << "input of a global pooling";
  SYNCBN_CHECK_GT(x[1] * x[2], 0) << "pixels of a global pooling";
  return {x[0], x[3]};
}

Shape FlatShape(const Shape& x) {
  SYNCBN_CHECK_EQ(x.rank(), 4) << "input of a flatten";
  return {x[0], x[1] * x[2] * x[3]};
}

bool IsFlatAsItIs(const Shape& x) {
  return x[1] * x[2] == 1 || x[3] == 1;
}

Shape ConcatenatedShape(std::span<const Tensor> parts) {
  SYNCBN_CHECK(!parts.empty()) << "parts of a concatenation";
  int64_t channels = 0;
  for (const Tensor& part : parts) channels += part.shape().channels();
  const Shape shape = WithChannels(parts[0].shape(), channels);
  for (const Tensor& part : parts) {
    SYNCBN_CHECK_EQ(WithChannels(part.shape(), channels), shape) << "parts of a concatenation";
  }
  return shape;
}

Shape SlicedShape(const Shape& x, int64_t begin, int64_t channels) {
  SYNCBN_CHECK(0 <= begin && channels > 0 && begin + channels <= x.channels())
      << "channels " << begin << " to " << begin + channels << " of " << x;
  return WithChannels(x, channels);
}

Shape SwappedShape(const Shape& x, int64_t keep) {
  SYNCBN_CHECK_GE(x.rank(), 2) << "axes to be swapped";
  SYNCBN_CHECK(keep >= 0 && keep <= x[1]) << keep << " of the second axis of " << x;
  std::array<int64_t, Shape::kMaxRank> extents{};
  std::ranges::copy(x.extents(), extents.begin());
  extents[0] = keep;
  extents[1] = x[0];
  return Shape(std::span<const int64_t>(extents).first(static_cast<size_t>(x.rank())));
}

int64_t DrawnSampleSize(const Tensor& x, std::span<const RandomKey> keys, const char* what) {
  const int64_t samples = x.shape()[0];
  SYNCBN_CHECK_EQ(static_cast<int64_t>(keys.size()), samples) << "keys of " << what;
  const int64_t size = samples == 0 ? 0 : x.elements() / samples;
  SYNCBN_CHECK_LE(size, kMostDrawn) << "elements of a sample";
  return size;
}

}  // namespace syncbn::backend
