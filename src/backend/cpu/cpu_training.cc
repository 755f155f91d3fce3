#include <algorithm>
#include <cmath>
#include <string>

#include "backend/cpu/cpu_executor.h"
#include "base/check.h"

namespace syncbn::backend::cpu {

// loss = log sum exp(z) - sum target z;  d loss / d z = softmax(z) - target, in double, the largest
// z taken out of the exponents. The smoothed target is that of Szegedy et al. 2016, section 7.
LossResult CpuExecutor::SoftmaxCrossEntropy(const Tensor& logits, const Tensor& labels,
                                            double label_smoothing, double scale,
                                            bool want_gradient) {
  SYNCBN_CHECK_EQ(logits.shape().rank(), 2) << "logits of a loss";
  const int64_t samples = logits.shape()[0], classes = logits.shape()[1];
  SYNCBN_CHECK_EQ(labels.elements(), samples) << "labels of a loss";
  SYNCBN_CHECK_GT(classes, 0) << "classes of a loss";
  LossResult result;
  result.losses = New({samples}, DType::kFloat64);
  result.correct = New({samples}, DType::kFloat64);
  if (want_gradient) result.dlogits = New(logits.shape());
  Tensor exponentials = New({classes}, DType::kFloat64);
  double* e = exponentials.Data<double>();
  const double everywhere = label_smoothing / static_cast<double>(classes);
  for (int64_t n = 0; n < samples; ++n) {
    const float* z = logits.Data<float>() + n * classes;
    const int64_t label = labels.Data<int32_t>()[n];
    SYNCBN_CHECK(0 <= label && label < classes)
        << "label " << label << " of sample " << n << ", with " << classes << " classes";
    const float* largest = std::max_element(z, z + classes);  // the first of equals
    result.correct.Data<double>()[n] = largest - z == label ? 1 : 0;

    double sum = 0, weighted = 0;
    for (int64_t c = 0; c < classes; ++c) {
      const double shifted = static_cast<double>(z[c]) - static_cast<double>(*largest);
      e[c] = std::exp(shifted);
      sum += e[c];
      weighted += everywhere * shifted;
    }
    weighted +=
        (1 - label_smoothing) * (static_cast<double>(z[label]) - static_cast<double>(*largest));
    result.losses.Data<double>()[n] = std::log(sum) - weighted;
    if (!want_gradient) continue;
    float* gradient = result.dlogits.Data<float>() + n * classes;
    for (int64_t c = 0; c < classes; ++c) {
      const double target = (c == label ? 1 - label_smoothing : 0) + everywhere;
      gradient[c] = static_cast<float>(scale * (e[c] / sum - target));
    }
  }
  return result;
}

double CpuExecutor::SumOfSquares(const Tensor& x) {
  return kernels_.dot(x.Data<float>(), x.Data<float>(), x.elements());
}

// torch.optim.SGD (dampening 0); decoupled decay as in Loshchilov and Hutter 2019, algorithm 1.
void CpuExecutor::SgdUpdate(const host::SgdSpec& spec, const Tensor& gradient, Tensor& velocity,
                            Tensor& weight) {
  SYNCBN_CHECK_EQ(gradient.elements(), weight.elements()) << "gradient of an update";
  if (spec.momentum != 0) {
    SYNCBN_CHECK(velocity.defined()) << "momentum " << spec.momentum << " without a velocity";
    SYNCBN_CHECK_EQ(velocity.elements(), weight.elements()) << "velocity of an update";
  }
  const double shrink = spec.decoupled ? spec.learning_rate * spec.weight_decay : 0;
  kernels_.sgd({.learning_rate = static_cast<float>(spec.learning_rate),
                .momentum = static_cast<float>(spec.momentum),
                .decay = static_cast<float>(spec.decoupled ? 0 : spec.weight_decay),
                .keep = static_cast<float>(1 - shrink),
                .gradient_scale = static_cast<float>(spec.gradient_scale),
                .nesterov = spec.nesterov},
               gradient.Data<float>(), spec.momentum != 0 ? velocity.Data<float>() : nullptr,
               weight.Data<float>(), weight.elements());
}

// Loshchilov and Hutter 2019, algorithm 2 (torch.optim.AdamW).
void CpuExecutor::AdamWUpdate(const host::AdamWSpec& spec, const Tensor& gradient, Tensor& mean,
                              Tensor& square, Tensor& weight) {
  SYNCBN_CHECK_EQ(gradient.elements(), weight.elements()) << "gradient of an update";
  SYNCBN_CHECK_EQ(mean.elements(), weight.elements()) << "mean of an update";
  SYNCBN_CHECK_EQ(square.elements(), weight.elements()) << "square of an update";
  SYNCBN_CHECK_GE(spec.update, 1) << "number of an update";
  const double mean_correction = 1 - std::pow(spec.beta1, spec.update);
  const double square_correction = 1 - std::pow(spec.beta2, spec.update);
  kernels_.adamw({.beta1 = static_cast<float>(spec.beta1),
                  .rest1 = static_cast<float>(1 - spec.beta1),
                  .beta2 = static_cast<float>(spec.beta2),
                  .rest2 = static_cast<float>(1 - spec.beta2),
                  .step_size = static_cast<float>(spec.learning_rate / mean_correction),
                  .root_scale = static_cast<float>(1 / std::sqrt(square_correction)),
                  .epsilon = static_cast<float>(spec.epsilon),
                  .keep = static_cast<float>(1 - spec.learning_rate * spec.weight_decay),
                  .gradient_scale = static_cast<float>(spec.gradient_scale)},
                 gradient.Data<float>(), mean.Data<float>(), square.Data<float>(),
                 weight.Data<float>(), weight.elements());
}

}  // namespace syncbn::backend::cpu
