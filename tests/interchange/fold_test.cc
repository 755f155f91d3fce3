// Batch norms folded into the layers before them: the formula, and which are folded.
#include "interchange/fold.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/interchange/trained.h"

namespace syncbn::interchange {
namespace {

using ::testing::Contains;
using ::testing::Not;

constexpr const char* kRun =
    "data: {dataset: shapes, shapes: {train_samples: 32, test_samples: 4}}\n"
    "cluster: {replicas: 2, batch_per_replica: 8}\n"
    "train: {max_steps: 3}\n"
    "model:\n"
    "  layers:\n"
    "    - conv: {out: 4, kernel: 3, stride: 4, bias: true}\n"  // with a bias, behind which a norm
                                                                // stands all the same
    "    - norm\n"
    "    - relu\n"
    "    - conv: {out: 4, kernel: 1}\n"
    "    - relu\n"
    "    - norm\n"  // behind an activation: stays
    "    - residual: {body: [{conv: {out: 4, kernel: 3, padding: 1}}, norm]}\n"
    "    - norm: {affine: false}\n"  // behind a sum: stays
    "    - flatten\n"
    "    - linear: {out: 6}\n"
    "    - norm: {affine: false}\n"
    "    - linear: 10\n";

TEST(Fold, TakesNormsDirectlyBehindAWeightAndNoOthers) {
  const Trained trained = TrainedBy(kRun);
  const Folds folds = FoldBatchNorms(*ModelOf(trained.spec), Weights(trained.checkpoint.tensors));
  EXPECT_EQ(folds.norms, (std::set<std::string, std::less<>>{"1", "6.body.1", "10"}));
  ASSERT_EQ(folds.layers.size(), 3u);
  EXPECT_TRUE(folds.layers.contains("0") && folds.layers.contains("6.body.0") &&
              folds.layers.contains("9"));
}

TEST(Fold, GivesWhatTheNormBehindTheLayerGives) {
  const Trained trained = TrainedBy(kRun);
  const Weights weights(trained.checkpoint.tensors);
  const Folds folds = FoldBatchNorms(*ModelOf(trained.spec), weights);
  const auto number = [&](const std::string& name, size_t i) {
    const Tensor tensor = weights.Find(name);
    return tensor.dtype() == DType::kFloat64 ? tensor.Span<double>()[i] : tensor.Span<float>()[i];
  };
  // Of any input: sums of products with it are z, and with the folded weight z'.
  const FoldedLayer& layer = folds.layers.at("0");
  const size_t row = static_cast<size_t>(layer.weight.elements()) / 4;
  for (size_t c = 0; c < 4; ++c) {
    double z = number("0.bias", c), folded = std::as_const(layer.bias).Span<float>()[c];
    for (size_t i = 0; i < row; ++i) {
      const double x = std::sin(static_cast<double>(i + 7 * c));
      z += x * number("0.weight", c * row + i);
      folded += x * std::as_const(layer.weight).Span<float>()[c * row + i];
    }
    const double y = number("1.weight", c) * (z - number("1.running_mean", c)) /
                         std::sqrt(number("1.running_var", c) + 1e-5) +
                     number("1.bias", c);
    EXPECT_NEAR(folded, y, 1e-5 * (1 + std::abs(y))) << c;
  }
  std::vector<std::string> names;
  for (const train::NamedTensor& entry : StateDict(trained.spec.model(), *ModelOf(trained.spec),
                                                   weights, {.fold_batch_norms = true})) {
    names.push_back(entry.name);
  }
  EXPECT_THAT(names, Contains("9.bias"));
  EXPECT_THAT(names, Contains("5.running_mean"));
  EXPECT_THAT(names, Not(Contains("1.weight")));
  EXPECT_THAT(names, Not(Contains("10.running_mean")));
  EXPECT_THAT(names, Not(Contains("optimizer.velocity.0.weight")));
}

TEST(StateDict, HasTheBiasesOfTorchvisionsVggsAsZeros) {
  const Trained trained = TrainedBy(
      "data: {dataset: shapes, shapes: {train_samples: 16, test_samples: 4}}\n"
      "model: {architecture: vgg11, width: 0.0625}\n"
      "cluster: {batch_per_replica: 8}\n"
      "train: {max_steps: 1}\n");
  int biases = 0;
  for (const train::NamedTensor& entry : StateDict(trained.spec.model(), *ModelOf(trained.spec),
                                                   Weights(trained.checkpoint.tensors), {})) {
    if (entry.name != "features.0.bias" && entry.name != "features.4.bias") continue;
    ++biases;
    EXPECT_THAT(
        std::vector<float>(entry.tensor.Span<float>().begin(), entry.tensor.Span<float>().end()),
        testing::Each(0.0F));
  }
  EXPECT_EQ(biases, 2);
}

}  // namespace
}  // namespace syncbn::interchange
