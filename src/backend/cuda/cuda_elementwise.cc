#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/kernels/activation.h"
#include "backend/cuda/kernels/elementwise.h"
#include "backend/cuda/kernels/layout.h"
#include "backend/cuda/kernels/random.h"
#include "backend/host/channel_noise.h"
#include "backend/shape_checks.h"

namespace syncbn::backend::cuda {
Tensor CudaExecutor::ActivationForward(ActivationKind kind, Tensor x) {
  Tensor y = Reuse(x);
  ForElements(x, [&](auto element) {
    using T = decltype(element);
    const T* const from = In<T>(x);
    T* const to = Out<T>(y);
    Run("activation",
        [&](cudaStream_t stream) { kernels::Activate(stream, kind, from, to, x.elements()); });
  });
  return y;
}

Tensor CudaExecutor::ActivationBackward(ActivationKind kind, const Tensor& kept, Tensor dy) {
  SYNCBN_CHECK_EQ(kept.elements(), dy.elements()) << "gradient of an activation";
  Tensor dx = Reuse(dy);
  ForElements(dy, [&](auto element) {
    using T = decltype(element);
    const T *of = In<T>(kept), *from = In<T>(dy);
    T* const to = Out<T>(dx);
    Run("gradient of an activation", [&](cudaStream_t stream) {
      kernels::ActivateBackward(stream, kind, of, from, to, dy.elements());
    });
  });
  return dx;
}

Tensor CudaExecutor::Add(Tensor a, const Tensor& b) {
  SYNCBN_CHECK_EQ(a.shape(), b.shape()) << "sum";
  Tensor sum = Reuse(a);
  ForElements(a, [&](auto element) {
    using T = decltype(element);
    const T *left = In<T>(a), *right = In<T>(b);
    T* const to = Out<T>(sum);
    Run("add", [&](cudaStream_t stream) { kernels::Add(stream, left, right, to, sum.elements()); });
  });
  return sum;
}

Tensor CudaExecutor::Convert(const Tensor& x, DType type) {
  if (x.dtype() == type) return x;
  Tensor converted = New(x.shape(), type);
  ForElements(x, [&](auto from_element) {
    using From = decltype(from_element);
    ForElements(converted, [&](auto to_element) {
      using To = decltype(to_element);
      if constexpr (!std::is_same_v<From, To>) {
        const From* const from = In<From>(x);
        To* const to = Out<To>(converted);
        Run("conversion",
            [&](cudaStream_t stream) { kernels::Convert(stream, from, to, x.elements()); });
      }
    });
  });
  return converted;
}

Tensor CudaExecutor::Dropout(Tensor x, std::span<const RandomKey> keys, double probability) {
  SYNCBN_CHECK(probability >= 0 && probability < 1) << "probability " << probability;
  const int64_t size = DrawnSampleSize(x, keys, "a dropout");
  std::vector<uint64_t> values;
  for (const RandomKey& key : keys) values.push_back(key.value());
  // word * 2^-32 >= probability, in integers.
  const auto threshold = static_cast<uint64_t>(std::ceil(std::ldexp(probability, 32)));
  const auto scale = static_cast<float>(1 / (1 - probability));
  Tensor y = Reuse(x);
  ForElements(x, [&](auto element) {
    using T = decltype(element);
    const T* const from = In<T>(x);
    T* const to = Out<T>(y);
    Run("dropout", [&](cudaStream_t stream) {
      kernels::Dropout(stream, from, to, size, values, threshold, scale);
    });
  });
  return y;
}

Tensor CudaExecutor::Noise(const NoiseSpec& noise, Tensor x, std::span<const RandomKey> keys) {
  return DrawnNoise(noise, std::move(x), keys, /*shifted=*/true);
}

Tensor CudaExecutor::NoiseBackward(const NoiseSpec& noise, Tensor dy,
                                   std::span<const RandomKey> keys) {
  return DrawnNoise(noise, std::move(dy), keys, /*shifted=*/false);
}

Tensor CudaExecutor::DrawnNoise(const NoiseSpec& noise, Tensor x, std::span<const RandomKey> keys,
                                bool shifted) {
  const int64_t size = DrawnSampleSize(x, keys, "noise"), channels = x.shape().channels();
  std::vector<uint64_t> values;
  for (const RandomKey& key : keys) {
    for (const uint64_t sequence : {0, 1, 2}) values.push_back(key.Fold(sequence).value());
  }
  const host::ChannelNoise draws = host::DrawChannels(noise, channels);
  Tensor drawn(Shape{2, channels}, DType::kFloat32);  // mu and sigma
  std::ranges::transform(draws.mu, drawn.Data<float>(),
                         [](double mu) { return static_cast<float>(mu); });
  std::ranges::transform(draws.sigma, drawn.Data<float>() + channels,
                         [](double sigma) { return static_cast<float>(sigma); });
  const Tensor there = ToDevice(drawn, DType::kFloat32);
  Tensor y = Reuse(x);
  const float* const of_channels = In<float>(there);
  ForElements(x, [&](auto element) {
    using T = decltype(element);
    const T* const from = In<T>(x);
    T* const to = Out<T>(y);
    Run("noise", [&](cudaStream_t stream) {
      kernels::Noise(stream,
                     {.mu = of_channels,
                      .sigma = of_channels + channels,
                      .channels = channels,
                      .spread = static_cast<float>(noise.spread),
                      .shifted = shifted},
                     from, to, size, values);
    });
  });
  return y;
}

Tensor CudaExecutor::ConcatChannels(std::span<const Tensor> parts) {
  const Shape shape = ConcatenatedShape(parts);
  const int64_t channels = shape.channels();
  Tensor y = New(shape, parts[0].dtype());
  ForElements(y, [&](auto element) {
    using T = decltype(element);
    T* to = Out<T>(y);
    for (const Tensor& part : parts) {
      const int64_t width = part.shape().channels();
      const T* const from = In<T>(part);
      Run("concatenation of channels", [&](cudaStream_t stream) {
        kernels::CopyChannels(stream, from, width, to, channels, shape.rows(), width);
      });
      to += width;
    }
  });
  return y;
}

Tensor CudaExecutor::SliceChannels(const Tensor& x, int64_t begin, int64_t channels) {
  const int64_t width = x.shape().channels();
  Tensor y = New(SlicedShape(x.shape(), begin, channels), x.dtype());
  ForElements(x, [&](auto element) {
    using T = decltype(element);
    const T* const from = In<T>(x) + begin;
    T* const to = Out<T>(y);
    Run("slice of channels", [&](cudaStream_t stream) {
      kernels::CopyChannels(stream, from, width, to, channels, x.shape().rows(), channels);
    });
  });
  return y;
}

}  // namespace syncbn::backend::cuda
