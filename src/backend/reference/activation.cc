#include <cmath>

#include "backend/reference/reference_executor.h"
#include "base/check.h"
#include "base/unknown_value.h"

namespace syncbn::backend::reference {
namespace {

double Activate(ActivationKind kind, double x) {
  switch (kind) {
    case ActivationKind::kRelu:
      return x <= 0 ? 0 : x;  // NaN stays NaN
    case ActivationKind::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case ActivationKind::kTanh:
      return std::tanh(x);
  }
  ThrowUnknownValue("activation", static_cast<int>(kind));
}

// d y / d x in terms of y.
double Slope(ActivationKind kind, double y) {
  switch (kind) {
    case ActivationKind::kRelu:
      return y > 0 ? 1 : 0;
    case ActivationKind::kSigmoid:
      return y * (1 - y);
    case ActivationKind::kTanh:
      return 1 - y * y;
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

Tensor ReferenceExecutor::ActivationBackward(ActivationKind kind, const Tensor& y, Tensor dy) {
  SYNCBN_CHECK_EQ(y.elements(), dy.elements()) << "gradient of an activation";
  Tensor dx = New(dy.shape());
  for (int64_t k = 0; k < dy.elements(); ++k) {
    dx.Data<double>()[k] = dy.Data<double>()[k] * Slope(kind, y.Data<double>()[k]);
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
  SYNCBN_CHECK_EQ(static_cast<int64_t>(keys.size()), samples) << "keys of a dropout";
  SYNCBN_CHECK(probability >= 0 && probability < 1) << "probability " << probability;
  const int64_t elements = samples == 0 ? 0 : x.elements() / samples;
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

}  // namespace syncbn::backend::reference
