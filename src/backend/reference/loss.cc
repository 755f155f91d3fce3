#include <algorithm>
#include <cmath>

#include "backend/reference/reference_executor.h"
#include "base/check.h"

namespace syncbn::backend::reference {

// loss = -sum over c of target[c] * log softmax(z)[c], with
// log softmax(z)[c] = z[c] - log(sum over k of exp(z[k])), the largest z taken out of the
// exponents; d loss / d z[c] = softmax(z)[c] - target[c]. The smoothed target is that of Szegedy et
// al. 2016, section 7.
LossResult ReferenceExecutor::SoftmaxCrossEntropy(const Tensor& logits, const Tensor& labels,
                                                  double label_smoothing, double scale,
                                                  bool want_gradient) {
  const int64_t samples = logits.shape()[0], classes = logits.shape()[1];
  SYNCBN_CHECK_EQ(labels.elements(), samples) << "labels of a loss";
  SYNCBN_CHECK_GT(classes, 0) << "classes of a loss";
  LossResult result;
  result.losses = New({samples}, DType::kFloat64);
  result.correct = New({samples}, DType::kFloat64);
  if (want_gradient) result.dlogits = New(logits.shape());
  for (int64_t n = 0; n < samples; ++n) {
    const double* z = logits.Data<double>() + n * classes;
    const int64_t label = labels.Data<int32_t>()[n];
    SYNCBN_CHECK(0 <= label && label < classes)
        << "label " << label << " of sample " << n << ", with " << classes << " classes";
    const double* largest = std::max_element(z, z + classes);  // the first of equals
    result.correct.Data<double>()[n] = largest - z == label ? 1 : 0;

    double sum = 0;
    for (int64_t c = 0; c < classes; ++c) sum += std::exp(z[c] - *largest);
    const double log_sum = std::log(sum) + *largest;

    double loss = 0;
    for (int64_t c = 0; c < classes; ++c) {
      const double target =
          (c == label ? 1 - label_smoothing : 0) + label_smoothing / static_cast<double>(classes);
      const double log_probability = z[c] - log_sum;
      loss -= target * log_probability;
      if (want_gradient) {
        result.dlogits.Data<double>()[n * classes + c] =
            scale * (std::exp(log_probability) - target);
      }
    }
    result.losses.Data<double>()[n] = loss;
  }
  return result;
}

}  // namespace syncbn::backend::reference
