#include <cmath>

#include "backend/cpu/cpu_executor.h"
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
  }
  ThrowUnknownValue("activation", static_cast<int>(kind));
}

Tensor CpuExecutor::ActivationBackward(ActivationKind kind, const Tensor& y, Tensor dy) {
  SYNCBN_CHECK_EQ(y.elements(), dy.elements()) << "gradient of an activation";
  const auto apply = [&](auto kernel) {
    Tensor dx = Reuse(dy);
    kernel(y.Data<float>(), dy.Data<float>(), dx.Data<float>(), dy.elements());
    return dx;
  };
  switch (kind) {
    case ActivationKind::kRelu: return apply(kernels_.relu_backward);
    case ActivationKind::kSigmoid: return apply(kernels_.sigmoid_backward);
    case ActivationKind::kTanh: return apply(kernels_.tanh_backward);
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
  SYNCBN_CHECK_EQ(static_cast<int64_t>(keys.size()), samples) << "keys of a dropout";
  SYNCBN_CHECK(probability >= 0 && probability < 1) << "probability " << probability;
  const int64_t size = samples == 0 ? 0 : x.elements() / samples;
  // Blocks of 4 words are counted in 32 bits.
  SYNCBN_CHECK_LE(size, int64_t{1} << 34) << "elements of a sample";
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

}  // namespace syncbn::backend::cpu
