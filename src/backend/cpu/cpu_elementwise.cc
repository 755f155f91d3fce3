#include <cmath>
#include <utility>
#include <vector>

#include "backend/cpu/cpu_executor.h"
#include "backend/host/channel_noise.h"
#include "backend/shape_checks.h"
#include "base/check.h"
#include "base/unknown_value.h"

namespace syncbn::backend::cpu {

Tensor CpuExecutor::ActivationForward(ActivationKind kind, Tensor x) {
  const auto apply = [&](auto kernel) {
    Tensor y = Reuse(x);
    kernel(x.Data<float>(), y.Data<float>(), x.elements());
    return y;
  };
  switch (kind) {
    case ActivationKind::kRelu: return apply(kernels_.relu);
    case ActivationKind::kSigmoid: return apply(kernels_.sigmoid);
    case ActivationKind::kTanh: return apply(kernels_.tanh);
    case ActivationKind::kGelu:
      return apply(kernels_.gelu);
    case ActivationKind::kSilu:
      return apply(kernels_.silu);
  }
  ThrowUnknownValue("activation", static_cast<int>(kind));
}

Tensor CpuExecutor::ActivationBackward(ActivationKind kind, const Tensor& kept, Tensor dy) {
  SYNCBN_CHECK_EQ(kept.elements(), dy.elements()) << "gradient of an activation";
  const auto apply = [&](auto kernel) {
    Tensor dx = Reuse(dy);
    kernel(kept.Data<float>(), dy.Data<float>(), dx.Data<float>(), dy.elements());
    return dx;
  };
  switch (kind) {
    case ActivationKind::kRelu: return apply(kernels_.relu_backward);
    case ActivationKind::kSigmoid: return apply(kernels_.sigmoid_backward);
    case ActivationKind::kTanh: return apply(kernels_.tanh_backward);
    case ActivationKind::kGelu:
      return apply(kernels_.gelu_backward);
    case ActivationKind::kSilu:
      return apply(kernels_.silu_backward);
  }
  ThrowUnknownValue("activation", static_cast<int>(kind));
}

Tensor CpuExecutor::Add(Tensor a, const Tensor& b) {
  SYNCBN_CHECK_EQ(a.elements(), b.elements()) << "sum of " << a.shape() << " and " << b.shape();
  Tensor sum = Reuse(a);
  kernels_.add(a.Data<float>(), b.Data<float>(), sum.Data<float>(), a.elements());
  return sum;
}

Tensor CpuExecutor::Dropout(Tensor x, std::span<const RandomKey> keys, double probability) {
  const int64_t samples = x.shape()[0];
  const int64_t size = DrawnSampleSize(x, keys, "a dropout");
  SYNCBN_CHECK(probability >= 0 && probability < 1) << "probability " << probability;
  // word * 2^-32 >= probability, in integers.
  const auto threshold = static_cast<uint64_t>(std::ceil(std::ldexp(probability, 32)));
  const auto scale = static_cast<float>(1 / (1 - probability));
  Tensor y = Reuse(x);
  for (int64_t n = 0; n < samples; ++n) {
    kernels_.dropout(keys[static_cast<size_t>(n)].value(), threshold, scale,
                     x.Data<float>() + n * size, y.Data<float>() + n * size, size);
  }
  return y;
}

Tensor CpuExecutor::Noise(const NoiseSpec& noise, Tensor x, std::span<const RandomKey> keys) {
  return DrawnNoise(noise, std::move(x), keys, /*shifted=*/true);
}

Tensor CpuExecutor::NoiseBackward(const NoiseSpec& noise, Tensor dy,
                                  std::span<const RandomKey> keys) {
  return DrawnNoise(noise, std::move(dy), keys, /*shifted=*/false);
}

Tensor CpuExecutor::DrawnNoise(const NoiseSpec& noise, Tensor x, std::span<const RandomKey> keys,
                               bool shifted) {
  const int64_t samples = x.shape()[0], channels = x.shape().channels();
  const int64_t size = DrawnSampleSize(x, keys, "noise");
  const host::ChannelNoise draws = host::DrawChannels(noise, channels);
  const std::vector<float> mu(draws.mu.begin(), draws.mu.end());
  const std::vector<float> sigma(draws.sigma.begin(), draws.sigma.end());
  Tensor y = Reuse(x);
  for (int64_t n = 0; n < samples; ++n) {
    const RandomKey key = keys[static_cast<size_t>(n)];
    kernels_.noise({.keys = {key.Fold(0).value(), key.Fold(1).value(), key.Fold(2).value()},
                    .mu = mu.data(),
                    .sigma = sigma.data(),
                    .channels = channels,
                    .spread = static_cast<float>(noise.spread),
                    .shifted = shifted},
                   x.Data<float>() + n * size, y.Data<float>() + n * size, size);
  }
  return y;
}

void CpuExecutor::MultiplyAdd(const host::Product& product) {
  kernels_.product({.a = product.a,
                    .a_row = product.a_row,
                    .a_depth = product.a_depth,
                    .b = product.b,
                    .c = product.c,
                    .rows = product.rows,
                    .depth = product.depth,
                    .columns = product.columns});
}

}  // namespace syncbn::backend::cpu
