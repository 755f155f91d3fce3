#include <vector>

#include "backend/reference/indexing.h"
#include "backend/reference/reference_executor.h"

namespace syncbn::backend::reference {

// y[n, o] = bias[o] + sum over i of x[n, i] * weight[o, i]
Tensor ReferenceExecutor::LinearForward(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const int64_t samples = x.shape()[0], inputs = weight.shape()[1], outputs = weight.shape()[0];
  SYNCBN_CHECK_EQ(x.shape(), (Shape{samples, inputs})) << "input of a linear layer";
  if (bias.defined()) SYNCBN_CHECK_EQ(bias.elements(), outputs) << "bias of a linear layer";
  Tensor y = New({samples, outputs});
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t o = 0; o < outputs; ++o) {
      double sum = bias.defined() ? bias.Data<double>()[o] : 0.0;
      for (int64_t i = 0; i < inputs; ++i) {
        sum += x.Data<double>()[n * inputs + i] * weight.Data<double>()[o * inputs + i];
      }
      y.Data<double>()[n * outputs + o] = sum;
    }
  }
  return y;
}

// dx[n, i] = sum over o of dy[n, o] * weight[o, i]
Tensor ReferenceExecutor::LinearBackwardInput(const Tensor& dy, const Tensor& weight) {
  const int64_t samples = dy.shape()[0], inputs = weight.shape()[1], outputs = weight.shape()[0];
  SYNCBN_CHECK_EQ(dy.shape(), (Shape{samples, outputs})) << "gradient of a linear layer";
  Tensor dx = New({samples, inputs});
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t i = 0; i < inputs; ++i) {
      double sum = 0;
      for (int64_t o = 0; o < outputs; ++o) {
        sum += dy.Data<double>()[n * outputs + o] * weight.Data<double>()[o * inputs + i];
      }
      dx.Data<double>()[n * inputs + i] = sum;
    }
  }
  return dx;
}

// dweight[o, i] = sum over n of dy[n, o] * x[n, i]; dbias[o] = sum over n of dy[n, o]
void ReferenceExecutor::LinearBackwardWeights(const Tensor& x, const Tensor& dy,
                                              GradientOut dweight, GradientOut dbias) {
  const int64_t samples = x.shape()[0], inputs = x.shape()[1], outputs = dy.shape()[1];
  SYNCBN_CHECK_EQ(dy.shape(), (Shape{samples, outputs})) << "gradient of a linear layer";
  std::vector<double> weight_sums(static_cast<size_t>(outputs * inputs), 0.0);
  std::vector<double> bias_sums(static_cast<size_t>(outputs), 0.0);
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t o = 0; o < outputs; ++o) {
      const double gradient = dy.Data<double>()[n * outputs + o];
      bias_sums[o] += gradient;
      for (int64_t i = 0; i < inputs; ++i) {
        weight_sums[o * inputs + i] += gradient * x.Data<double>()[n * inputs + i];
      }
    }
  }
  WriteGradient(dweight, weight_sums);
  WriteGradient(dbias, bias_sums);
}

}  // namespace syncbn::backend::reference
