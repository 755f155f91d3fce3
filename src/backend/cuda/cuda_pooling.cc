#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/kernels/layout.h"
#include "backend/cuda/kernels/pooling.h"
#include "backend/shape_checks.h"
#include "base/unknown_value.h"

namespace syncbn::backend::cuda {
namespace {

kernels::Pooling PoolingOf(const Pool2dSpec& spec, const Shape& x, const Shape& y) {
  SYNCBN_CHECK_LT(spec.pad, spec.kernel)
      << "padding of a pooling, with windows that hold nothing else";
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

// Calls with_type(Position()), which says how the place of a maximum in its window is kept.
template <typename WithType>
void ForPositions(const Pool2dSpec& spec, const WithType& with_type) {
  if (spec.kernel <= 16) {
    with_type(uint8_t());
  } else {
    with_type(int32_t());
  }
}

}  // namespace

PoolResult CudaExecutor::Pool2dForward(const Pool2dSpec& spec, const Tensor& x) {
  PoolResult result{.y = New(spec.OutputShape(x.shape()), x.dtype()), .positions = {}};
  const kernels::Pooling pooling = PoolingOf(spec, x.shape(), result.y.shape());
  ForElements(x, [&](auto element) {
    using T = decltype(element);
    const T* const from = In<T>(x);
    T* const to = Out<T>(result.y);
    switch (spec.kind) {
      case PoolKind::kMax:
        ForPositions(spec, [&](auto position) {
          using Position = decltype(position);
          result.positions = New(result.y.shape(), DTypeOf<Position>::kValue);
          Position* const positions = Out<Position>(result.positions);
          Run("max pooling",
              [&](cudaStream_t stream) { kernels::MaxPool(stream, pooling, from, to, positions); });
        });
        return;
      case PoolKind::kAverage:
        Run("average pooling",
            [&](cudaStream_t stream) { kernels::AveragePool(stream, pooling, from, to); });
        return;
    }
    ThrowUnknownValue("pooling", static_cast<int>(spec.kind));
  });
  return result;
}

Tensor CudaExecutor::Pool2dBackward(const Pool2dSpec& spec, const Shape& x_shape, const Tensor& dy,
                                    const Tensor& positions) {
  CheckPool2dBackward(spec, x_shape, dy, positions);
  const kernels::Pooling pooling = PoolingOf(spec, x_shape, dy.shape());
  Tensor dx = New(x_shape, dy.dtype());
  ForElements(dy, [&](auto element) {
    using T = decltype(element);
    const T* const from = In<T>(dy);
    T* const to = Out<T>(dx);
    switch (spec.kind) {
      case PoolKind::kMax:
        ForPositions(spec, [&](auto position) {
          const auto* const chosen = In<decltype(position)>(positions);
          Run("gradient of a max pooling", [&](cudaStream_t stream) {
            kernels::MaxPoolBackward(stream, pooling, from, chosen, to);
          });
        });
        return;
      case PoolKind::kAverage:
        Run("gradient of an average pooling",
            [&](cudaStream_t stream) { kernels::AveragePoolBackward(stream, pooling, from, to); });
        return;
    }
    ThrowUnknownValue("pooling", static_cast<int>(spec.kind));
  });
  return dx;
}

Tensor CudaExecutor::GlobalAveragePoolForward(const Tensor& x) {
  const Shape& shape = x.shape();
  const int64_t images = shape[0], area = shape[1] * shape[2], channels = shape[3];
  Tensor y = New(GlobalPoolShape(shape), x.dtype());
  ForElements(x, [&](auto element) {
    using T = decltype(element);
    const Tensor scratch =
        New({kernels::GlobalAverageScratch<T>(images, area, channels)}, DType::kFloat64);
    const T* const from = In<T>(x);
    T* const to = Out<T>(y);
    double* const memory = Out<double>(scratch);
    Run("global average pooling", [&](cudaStream_t stream) {
      kernels::GlobalAverage(stream, from, to, images, area, channels, memory);
    });
  });
  return y;
}

Tensor CudaExecutor::GlobalAveragePoolBackward(const Shape& x_shape, const Tensor& dy) {
  SYNCBN_CHECK_EQ(dy.shape(), GlobalPoolShape(x_shape)) << "gradient of a global pooling";
  Tensor dx = New(x_shape, dy.dtype());
  ForElements(dy, [&](auto element) {
    using T = decltype(element);
    const T* const from = In<T>(dy);
    T* const to = Out<T>(dx);
    Run("gradient of a global average pooling", [&](cudaStream_t stream) {
      kernels::GlobalAverageBackward(stream, from, to, x_shape[0], x_shape[1] * x_shape[2],
                                     x_shape[3]);
    });
  });
  return dx;
}

Tensor CudaExecutor::FlattenToChannelsFirst(const Tensor& x) {
  const Shape& shape = x.shape();
  const Shape flat = FlatShape(shape);
  if (IsFlatAsItIs(shape)) return x.Reshape(flat);
  const int64_t area = shape[1] * shape[2], channels = shape[3];
  Tensor y = New(flat, x.dtype());
  ForElements(x, [&](auto element) {
    using T = decltype(element);
    const T* const from = In<T>(x);
    T* const to = Out<T>(y);
    Run("flatten", [&](cudaStream_t stream) {
      kernels::Transpose(stream, from, to, shape[0], area, channels);
    });
  });
  return y;
}

Tensor CudaExecutor::UnflattenFromChannelsFirst(const Shape& x_shape, const Tensor& dy) {
  SYNCBN_CHECK_EQ(dy.elements(), FlatShape(x_shape).elements()) << "gradient of a flatten";
  if (IsFlatAsItIs(x_shape)) return dy.Reshape(x_shape);
  const int64_t area = x_shape[1] * x_shape[2], channels = x_shape[3];
  Tensor dx = New(x_shape, dy.dtype());
  ForElements(dy, [&](auto element) {
    using T = decltype(element);
    const T* const from = In<T>(dy);
    T* const to = Out<T>(dx);
    Run("unflatten", [&](cudaStream_t stream) {
      kernels::Transpose(stream, from, to, x_shape[0], channels, area);
    });
  });
  return dx;
}

}  // namespace syncbn::backend::cuda
