#include <algorithm>
#include <cstring>
#include <string>

#include "backend/cpu/cpu_executor.h"
#include "backend/shape_checks.h"
#include "base/unknown_value.h"

namespace syncbn::backend::cpu {
namespace {

MaxPoolArgs MaxPoolOf(const Pool2dSpec& spec, const Shape& x, const Shape& y) {
  if (spec.kernel * spec.kernel > kMaxPoolTaps) {
    throw Error(ErrorCode::kUnimplemented,
                "max pooling on the CPU takes kernels up to 15 x 15, got " +
                    std::to_string(spec.kernel) + " x " + std::to_string(spec.kernel));
  }
  return {.images = x[0],
          .height = x[1],
          .width = x[2],
          .channels = x[3],
          .out_height = y[1],
          .out_width = y[2],
          .kernel = spec.kernel,
          .stride = spec.stride,
          .pad = spec.pad};
}

// out[column, row] = in[row, column], in tiles that stay in the first cache.
void Transpose(const float* in, int64_t rows, int64_t columns, float* out) {
  constexpr int64_t kTile = 16;
  for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
    for (int64_t c0 = 0; c0 < columns; c0 += kTile) {
      const int64_t r1 = std::min(rows, r0 + kTile), c1 = std::min(columns, c0 + kTile);
      for (int64_t c = c0; c < c1; ++c) {
        for (int64_t r = r0; r < r1; ++r) out[c * rows + r] = in[r * columns + c];
      }
    }
  }
}

}  // namespace

PoolResult CpuExecutor::Pool2dForward(const Pool2dSpec& spec, const Tensor& x) {
  const Shape shape = spec.OutputShape(x.shape());
  PoolResult result{.y = New(shape), .positions = {}};
  switch (spec.kind) {
    case PoolKind::kMax: {
      const MaxPoolArgs args = MaxPoolOf(spec, x.shape(), shape);
      result.positions = New(shape, DType::kUint8);
      kernels_.max_pool(args, x.Data<float>(), result.y.Data<float>(),
                        result.positions.Data<uint8_t>());
      return result;
    }
    case PoolKind::kAverage:
      if (x.elements() > 0) average_pools_.Forward(spec, x, result.y);
      return result;
  }
  ThrowUnknownValue("pooling", static_cast<int>(spec.kind));
}

Tensor CpuExecutor::Pool2dBackward(const Pool2dSpec& spec, const Shape& x_shape, const Tensor& dy,
                                   const Tensor& positions) {
  CheckPool2dBackward(spec, x_shape, dy, positions);
  Tensor dx = New(x_shape);
  switch (spec.kind) {
    case PoolKind::kMax:
      kernels_.max_pool_backward(MaxPoolOf(spec, x_shape, dy.shape()), dy.Data<float>(),
                                 positions.Data<uint8_t>(), dx.Data<float>());
      return dx;
    case PoolKind::kAverage:
      if (dx.elements() > 0) average_pools_.Backward(spec, dy, dx);
      return dx;
  }
  ThrowUnknownValue("pooling", static_cast<int>(spec.kind));
}

Tensor CpuExecutor::GlobalAveragePoolForward(const Tensor& x) {
  const Shape& shape = x.shape();
  Tensor y = New(GlobalPoolShape(shape));
  const int64_t area = shape[1] * shape[2];
  Tensor sums = New(y.shape(), DType::kFloat64);
  kernels_.column_sums({.segments = shape[0], .rows = area, .channels = shape[3]}, x.Data<float>(),
                       sums.Data<double>(), Scratch(shape[3]));
  const double* sum = sums.Data<double>();
  float* out = y.Data<float>();
  const double count = static_cast<double>(area);
  for (int64_t i = 0; i < y.elements(); ++i) out[i] = static_cast<float>(sum[i] / count);
  return y;
}

Tensor CpuExecutor::GlobalAveragePoolBackward(const Shape& x_shape, const Tensor& dy) {
  const int64_t samples = x_shape[0], area = x_shape[1] * x_shape[2], channels = x_shape[3];
  SYNCBN_CHECK_EQ(dy.shape(), GlobalPoolShape(x_shape)) << "gradient of a global pooling";
  Tensor dx = New(x_shape);
  const float share = static_cast<float>(1.0 / static_cast<double>(area));
  for (int64_t n = 0; n < samples; ++n) {
    float* image = dx.Data<float>() + n * area * channels;
    kernels_.scale(dy.Data<float>() + n * channels, share, image, channels);
    for (int64_t r = 1; r < area; ++r) {
      std::memcpy(image + r * channels, image, static_cast<size_t>(channels) * sizeof(float));
    }
  }
  return dx;
}

Tensor CpuExecutor::FlattenToChannelsFirst(const Tensor& x) {
  const Shape& shape = x.shape();
  const Shape flat = FlatShape(shape);
  if (IsFlatAsItIs(shape)) return x.Reshape(flat);
  const int64_t area = shape[1] * shape[2], channels = shape[3];
  Tensor y = New(flat);
  for (int64_t n = 0; n < shape[0]; ++n) {
    const int64_t start = n * area * channels;
    Transpose(x.Data<float>() + start, area, channels, y.Data<float>() + start);
  }
  return y;
}

Tensor CpuExecutor::UnflattenFromChannelsFirst(const Shape& x_shape, const Tensor& dy) {
  SYNCBN_CHECK_EQ(dy.elements(), FlatShape(x_shape).elements()) << "gradient of a flatten";
  if (IsFlatAsItIs(x_shape)) return dy.Reshape(x_shape);
  const int64_t area = x_shape[1] * x_shape[2], channels = x_shape[3];
  Tensor dx = New(x_shape);
  for (int64_t n = 0; n < x_shape[0]; ++n) {
    const int64_t start = n * area * channels;
    Transpose(dy.Data<float>() + start, channels, area, dx.Data<float>() + start);
  }
  return dx;
}

}  // namespace syncbn::backend::cpu
