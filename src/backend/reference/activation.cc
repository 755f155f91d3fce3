#include <cmath>
#include <numbers>

#include "backend/host/channel_noise.h"
#include "backend/reference/reference_executor.h"
#include "backend/shape_checks.h"
#include "base/check.h"
#include "base/unknown_value.h"

namespace syncbn::backend::reference {
namespace {

double NormalDistribution(double x) {
  return std::erfc(-x / std::numbers::sqrt2) / 2;
}

double Activate(ActivationKind kind, double x) {
  switch (kind) {
    case ActivationKind::kRelu:
      return x <= 0 ? 0 : x;  // NaN stays NaN
    case ActivationKind::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case ActivationKind::kTanh:
      return std::tanh(x);
    case ActivationKind::kGelu:
      return x * NormalDistribution(x);
    case ActivationKind::kSilu:
      return x / (1 + std::exp(-x));
  }
  ThrowUnknownValue("activation", static_cast<int>(kind));
}

// d y / d x, in terms of x where IsFromInput, else of y.
double Slope(ActivationKind kind, double kept) {
  switch (kind) {
    case ActivationKind::kRelu:
      return kept > 0 ? 1 : 0;
    case ActivationKind::kSigmoid:
      return kept * (1 - kept);
    case ActivationKind::kTanh:
      return 1 - kept * kept;
    case ActivationKind::kGelu:
      return NormalDistribution(kept) +
             kept * std::exp(-kept * kept / 2) / std::sqrt(2 * std::numbers::pi);
    case ActivationKind::kSilu: {
      const double sigmoid = 1 / (1 + std::exp(-kept));
      return sigmoid * (1 + kept * (1 - sigmoid));
    }
  }
  ThrowUnknownValue("activation", static_cast<int>(kind));
}

}  // namespace

Tensor ReferenceExecutor::ActivationForward(ActivationKind kind, Tensor x) {
  Tensor y = New(x.shape());
  for (int64_t k = 0; k < x.elements(); ++k) {
    y.Data<double>()[k] = Activate(kind, x.Data<double>()[k]);
  }
  return y;
}

Tensor ReferenceExecutor::ActivationBackward(ActivationKind kind, const Tensor& kept, Tensor dy) {
  SYNCBN_CHECK_EQ(kept.elements(), dy.elements()) << "gradient of an activation";
  Tensor dx = New(dy.shape());
  for (int64_t k = 0; k < dy.elements(); ++k) {
    dx.Data<double>()[k] = dy.Data<double>()[k] * Slope(kind, kept.Data<double>()[k]);
  }
  return dx;
}

Tensor ReferenceExecutor::Add(Tensor a, const Tensor& b) {
  SYNCBN_CHECK_EQ(a.shape(), b.shape()) << "operands of a sum";
  Tensor sum = New(a.shape());
  for (int64_t k = 0; k < a.elements(); ++k) {
    sum.Data<double>()[k] = a.Data<double>()[k] + b.Data<double>()[k];
  }
  return sum;
}

// Srivastava et al. 2014, in the inverted form: what is kept is scaled, so that inference needs no
// factor.
Tensor ReferenceExecutor::Dropout(Tensor x, std::span<const RandomKey> keys, double probability) {
  const int64_t samples = x.shape()[0];
  SYNCBN_CHECK(probability >= 0 && probability < 1) << "probability " << probability;
  const int64_t elements = DrawnSampleSize(x, keys, "a dropout");
  Tensor y = New(x.shape());
  for (int64_t i = 0; i < samples; ++i) {
    RandomStream words(keys[i]);  // word j is word j % 4 of block j / 4
    for (int64_t j = 0; j < elements; ++j) {
      const bool keep = static_cast<double>(words()) * 0x1p-32 >= probability;
      const double value = x.Data<double>()[i * elements + j];
      y.Data<double>()[i * elements + j] = keep ? value / (1 - probability) : 0;
    }
  }
  return y;
}

namespace {

// shifted: s x + m, else s x.
void DrawnNoise(const NoiseSpec& noise, const Tensor& x, std::span<const RandomKey> keys,
                bool shifted, Tensor& y) {
  const int64_t samples = x.shape()[0], channels = x.shape().channels();
  const host::ChannelNoise draws = host::DrawChannels(noise, channels);
  const int64_t elements = DrawnSampleSize(x, keys, "noise");
  for (int64_t i = 0; i < samples; ++i) {
    const RandomKey key = keys[static_cast<size_t>(i)];
    RandomStream a(key.Fold(0)), b(key.Fold(1)), c(key.Fold(2));
    for (int64_t j = 0; j < elements; ++j) {
      const auto channel = static_cast<size_t>(j % channels);
      const double m = draws.mu[channel] + noise.spread * (2 * ((a() >> 8) * 0x1p-24) - 1);
      const double radius = std::sqrt(-2 * std::log(((b() >> 9) + 0.5) * 0x1p-23));
      const double angle = 2 * std::numbers::pi * ((c() >> 8) * 0x1p-24);
      const double s = draws.sigma[channel] + noise.spread * radius * std::cos(angle);
      const int64_t k = i * elements + j;
      y.Data<double>()[k] = s * x.Data<double>()[k] + (shifted ? m : 0);
    }
  }
}

}  // namespace

Tensor ReferenceExecutor::Noise(const NoiseSpec& noise, Tensor x, std::span<const RandomKey> keys) {
  Tensor y = New(x.shape());
  DrawnNoise(noise, x, keys, /*shifted=*/true, y);
  return y;
}

Tensor ReferenceExecutor::NoiseBackward(const NoiseSpec& noise, Tensor dy,
                                        std::span<const RandomKey> keys) {
  Tensor dx = New(dy.shape());
  DrawnNoise(noise, dy, keys, /*shifted=*/false, dx);
  return dx;
}

}  // namespace syncbn::backend::reference
