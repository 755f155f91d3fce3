#include <cmath>

#include "backend/reference/reference_executor.h"
#include "base/check.h"

namespace syncbn::backend::reference {

double ReferenceExecutor::SumOfSquares(const Tensor& x) {
  double sum = 0;
  for (double value : x.Span<double>()) sum += value * value;
  return sum;
}

// torch.optim.SGD (dampening 0); decoupled decay as in Loshchilov and Hutter 2019, algorithm 1: the
// weight shrinks before the step, by the rate alone.
void ReferenceExecutor::SgdUpdate(const host::SgdSpec& spec, const Tensor& gradient,
                                  Tensor& velocity, Tensor& weight) {
  SYNCBN_CHECK_EQ(gradient.elements(), weight.elements()) << "gradient of an update";
  if (spec.momentum != 0) {
    SYNCBN_CHECK(velocity.defined()) << "momentum " << spec.momentum << " without a velocity";
    SYNCBN_CHECK_EQ(velocity.elements(), weight.elements()) << "velocity of an update";
  }
  for (int64_t k = 0; k < weight.elements(); ++k) {
    double& w = weight.Data<double>()[k];
    double g = spec.gradient_scale * gradient.Data<double>()[k];
    if (spec.decoupled) {
      w -= spec.learning_rate * spec.weight_decay * w;
    } else {
      g += spec.weight_decay * w;
    }
    if (spec.momentum != 0) {
      double& v = velocity.Data<double>()[k];
      v = spec.momentum * v + g;
      g = spec.nesterov ? g + spec.momentum * v : v;
    }
    w -= spec.learning_rate * g;
  }
}

// Loshchilov and Hutter 2019, algorithm 2, with the rate as the schedule multiplier
// (torch.optim.AdamW).
void ReferenceExecutor::AdamWUpdate(const host::AdamWSpec& spec, const Tensor& gradient,
                                    Tensor& mean, Tensor& square, Tensor& weight) {
  SYNCBN_CHECK_EQ(gradient.elements(), weight.elements()) << "gradient of an update";
  SYNCBN_CHECK_EQ(mean.elements(), weight.elements()) << "mean of an update";
  SYNCBN_CHECK_EQ(square.elements(), weight.elements()) << "square of an update";
  SYNCBN_CHECK_GE(spec.update, 1) << "number of an update";
  const double mean_correction = 1 - std::pow(spec.beta1, spec.update);
  const double square_correction = 1 - std::pow(spec.beta2, spec.update);
  for (int64_t k = 0; k < weight.elements(); ++k) {
    const double g = spec.gradient_scale * gradient.Data<double>()[k];
    double& m = mean.Data<double>()[k];
    double& s = square.Data<double>()[k];
    double& w = weight.Data<double>()[k];
    m = spec.beta1 * m + (1 - spec.beta1) * g;
    s = spec.beta2 * s + (1 - spec.beta2) * g * g;
    w -= spec.learning_rate * spec.weight_decay * w;
    w -= spec.learning_rate * (m / mean_correction) /
         (std::sqrt(s / square_correction) + spec.epsilon);
  }
}

}  // namespace syncbn::backend::reference
