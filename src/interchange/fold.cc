#include "interchange/fold.h"

#include <cmath>
#include <vector>

#include "base/check.h"

namespace syncbn::interchange {
namespace {

// F32 or F64; undefined: all `otherwise`.
std::vector<double> NumbersOf(const Tensor& tensor, int64_t count, double otherwise) {
  if (!tensor.defined()) return std::vector<double>(static_cast<size_t>(count), otherwise);
  SYNCBN_CHECK_EQ(tensor.elements(), count);
  if (tensor.dtype() == DType::kFloat64) {
    const auto values = tensor.Span<double>();
    return {values.begin(), values.end()};
  }
  const auto values = tensor.Span<float>();
  return {values.begin(), values.end()};
}

}  // namespace

Folds FoldBatchNorms(const nn::Model& model, const Weights& weights) {
  Folds folds;
  for (const nn::NormLayer& norm : model.norms()) {
    const bool is_batch_norm =
        norm.spec.kind() == v1::NORM_KIND_BATCH || norm.spec.kind() == v1::NORM_KIND_BATCH_RENORM;
    if (!is_batch_norm || !norm.behind) continue;
    const Tensor weight = weights.Find(*norm.behind + ".weight");
    const Tensor mean = weights.Find(norm.name + ".running_mean");
    if (!weight.defined() || !mean.defined()) continue;
    const int64_t channels = norm.channels;
    const auto of_norm = [&](const char* name, double otherwise) {
      return NumbersOf(weights.Find(norm.name + name), channels, otherwise);
    };
    const std::vector<double> gamma = of_norm(".weight", 1), beta = of_norm(".bias", 0),
                              means = NumbersOf(mean, channels, 0),
                              variances = of_norm(".running_var", 1),
                              biases = NumbersOf(weights.Find(*norm.behind + ".bias"), channels, 0),
                              numbers = NumbersOf(weight, weight.elements(), 0);
    FoldedLayer layer{.weight = Tensor(weight.shape(), DType::kFloat32),
                      .bias = Tensor({channels}, DType::kFloat32)};
    const std::span<float> folded = layer.weight.Span<float>(), bias = layer.bias.Span<float>();
    const size_t row = numbers.size() / static_cast<size_t>(channels);
    for (size_t c = 0; c < gamma.size(); ++c) {
      const double scale = gamma[c] / std::sqrt(variances[c] + norm.spec.epsilon());
      for (size_t i = c * row; i < (c + 1) * row; ++i)
        folded[i] = static_cast<float>(scale * numbers[i]);
      bias[c] = static_cast<float>(beta[c] + scale * (biases[c] - means[c]));
    }
    folds.layers.emplace(*norm.behind, std::move(layer));
    folds.norms.insert(norm.name);
  }
  return folds;
}

}  // namespace syncbn::interchange
