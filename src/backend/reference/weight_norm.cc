#include <cmath>
#include <vector>

#include "backend/reference/indexing.h"
#include "backend/reference/reference_executor.h"

namespace syncbn::backend::reference {

// w[o] = gain[o] / |v[o]| * v[o] (Salimans and Kingma 2016, equation 2)
WeightNormResult ReferenceExecutor::WeightNormForward(const Tensor& v, const Tensor& gain) {
  const int64_t outputs = v.shape()[0];
  SYNCBN_CHECK_EQ(gain.elements(), outputs) << "gain of a weight norm";
  const int64_t inputs = outputs == 0 ? 0 : v.elements() / outputs;
  WeightNormResult result{.weight = New(v.shape()), .norms = New({outputs}, DType::kFloat64)};
  for (int64_t o = 0; o < outputs; ++o) {
    const double* row = v.Data<double>() + o * inputs;
    double squares = 0;
    for (int64_t i = 0; i < inputs; ++i) squares += row[i] * row[i];
    const double norm = std::sqrt(squares);
    result.norms.Data<double>()[o] = norm;
    for (int64_t i = 0; i < inputs; ++i) {
      result.weight.Data<double>()[o * inputs + i] = gain.Data<double>()[o] / norm * row[i];
    }
  }
  return result;
}

// dgain = dw . v / |v|;  dv = gain / |v| * dw - gain * dgain / |v|^2 * v  (the same, equation 3)
void ReferenceExecutor::WeightNormBackward(const Tensor& v, const Tensor& gain, const Tensor& norms,
                                           const Tensor& dweight, GradientOut dv,
                                           GradientOut dgain) {
  const int64_t outputs = v.shape()[0];
  SYNCBN_CHECK_EQ(dweight.elements(), v.elements()) << "gradient of a weight norm";
  const int64_t inputs = outputs == 0 ? 0 : v.elements() / outputs;
  std::vector<double> v_gradient(static_cast<size_t>(v.elements()));
  std::vector<double> gain_gradient(static_cast<size_t>(outputs));
  for (int64_t o = 0; o < outputs; ++o) {
    const double* row = v.Data<double>() + o * inputs;
    const double* dw = dweight.Data<double>() + o * inputs;
    const double norm = norms.Data<double>()[o], g = gain.Data<double>()[o];
    double product = 0;
    for (int64_t i = 0; i < inputs; ++i) product += dw[i] * row[i];
    gain_gradient[o] = product / norm;
    for (int64_t i = 0; i < inputs; ++i) {
      v_gradient[o * inputs + i] = g / norm * dw[i] - g * gain_gradient[o] / (norm * norm) * row[i];
    }
  }
  WriteGradient(dv, v_gradient);
  WriteGradient(dgain, gain_gradient);
}

}  // namespace syncbn::backend::reference
