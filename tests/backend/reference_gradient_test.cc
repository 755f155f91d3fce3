// Backward passes of the reference against central differences of its forward passes. The loss is
// the dot product of the output with fixed random numbers, which are then the output's gradient.

#include <gtest/gtest.h>

#include "backend/backend.h"
#include "tests/backend/support.h"
#include "tests/support/gradient_check.h"

namespace syncbn::backend {
namespace {

class ReferenceGradient : public ::testing::Test {
 protected:
  std::unique_ptr<Executor> executor_ = MakeReferenceBackend()->MakeExecutor();
};

void CheckConvolution(Executor& executor, const Conv2dSpec& spec, const Shape& x_shape) {
  const Tensor x = RandomNormal(x_shape, "x");
  const Tensor weight = RandomNormal(spec.WeightShape(), "weight");
  const Tensor bias = RandomNormal({spec.out_channels}, "bias");
  const Tensor dy = RandomNormal(spec.OutputShape(x_shape), "dy");
  const Tensor dx = executor.Conv2dBackwardInput(spec, x_shape, dy, weight);
  Tensor dweight = executor.New(weight.shape()), dbias = executor.New(bias.shape());
  executor.Conv2dBackwardWeights(spec, x, dy, {.tensor = dweight}, {.tensor = dbias});
  EXPECT_TRUE(GradientsMatch(
      [&](std::span<const Tensor> in) {
        return Dot(executor.Conv2dForward(spec, in[0], in[1], in[2]), dy);
      },
      {x, weight, bias}, {dx, dweight, dbias}));
}

TEST_F(ReferenceGradient, OfConvolutions) {
  CheckConvolution(*executor_, {.in_channels = 3, .out_channels = 2, .kernel_h = 3, .kernel_w = 3},
                   {2, 4, 5, 3});
  CheckConvolution(*executor_, {.in_channels = 4, .out_channels = 3}, {2, 3, 2, 4});
}

TEST_F(ReferenceGradient, OfConvolutionsWithStrideAndPadding) {
  CheckConvolution(*executor_,
                   {.in_channels = 2,
                    .out_channels = 3,
                    .kernel_h = 3,
                    .kernel_w = 3,
                    .stride_h = 2,
                    .stride_w = 2,
                    .pad_h = 1,
                    .pad_w = 1},
                   {2, 6, 5, 2});
}

TEST_F(ReferenceGradient, OfConvolutionsThatDifferAlongTheAxes) {
  CheckConvolution(*executor_,
                   {.in_channels = 2,
                    .out_channels = 2,
                    .kernel_h = 3,
                    .kernel_w = 2,
                    .stride_h = 1,
                    .stride_w = 3,
                    .pad_h = 2,
                    .pad_w = 0},
                   {1, 3, 7, 2});
}

TEST_F(ReferenceGradient, OfGroupedConvolutions) {
  CheckConvolution(*executor_,
                   {.in_channels = 4,
                    .out_channels = 6,
                    .kernel_h = 3,
                    .kernel_w = 3,
                    .pad_h = 1,
                    .pad_w = 1,
                    .groups = 2},
                   {2, 3, 3, 4});
  CheckConvolution(*executor_,
                   {.in_channels = 3, .out_channels = 3, .kernel_h = 2, .kernel_w = 2, .groups = 3},
                   {1, 4, 4, 3});
}

TEST_F(ReferenceGradient, OfLinearLayers) {
  const Tensor x = RandomNormal({3, 5}, "x"), weight = RandomNormal({4, 5}, "weight");
  const Tensor bias = RandomNormal({4}, "bias"), dy = RandomNormal({3, 4}, "dy");
  Tensor dweight = executor_->New(weight.shape()), dbias = executor_->New(bias.shape());
  executor_->LinearBackwardWeights(x, dy, {.tensor = dweight}, {.tensor = dbias});
  EXPECT_TRUE(GradientsMatch(
      [&](std::span<const Tensor> in) {
        return Dot(executor_->LinearForward(in[0], in[1], in[2]), dy);
      },
      {x, weight, bias}, {executor_->LinearBackwardInput(dy, weight), dweight, dbias}));
}

void CheckPooling(Executor& executor, const Pool2dSpec& spec, const Shape& x_shape) {
  const Tensor x = Distinct(x_shape, "x");  // no two elements compete for a maximum
  const Tensor dy = RandomNormal(spec.OutputShape(x_shape), "dy");
  const PoolResult pooled = executor.Pool2dForward(spec, x);
  EXPECT_TRUE(GradientsMatch(
      [&](std::span<const Tensor> in) { return Dot(executor.Pool2dForward(spec, in[0]).y, dy); },
      {x}, {executor.Pool2dBackward(spec, x_shape, dy, pooled.positions)}));
}

TEST_F(ReferenceGradient, OfPoolings) {
  for (const PoolKind kind : {PoolKind::kMax, PoolKind::kAverage}) {
    SCOPED_TRACE(kind == PoolKind::kMax ? "max" : "average");
    CheckPooling(*executor_, {.kind = kind}, {2, 4, 6, 3});
    CheckPooling(*executor_, {.kind = kind, .kernel = 3, .stride = 2, .pad = 1}, {2, 5, 4, 2});
    CheckPooling(*executor_, {.kind = kind, .kernel = 3, .stride = 1, .pad = 1}, {1, 4, 5, 2});
    CheckPooling(*executor_, {.kind = kind, .kernel = 2, .stride = 3}, {1, 6, 5, 2});
  }
}

TEST_F(ReferenceGradient, OfTheGlobalPool) {
  const Tensor x = RandomNormal({2, 3, 4, 5}, "x"), dy = RandomNormal({2, 5}, "dy");
  EXPECT_TRUE(GradientsMatch(
      [&](std::span<const Tensor> in) {
        return Dot(executor_->GlobalAveragePoolForward(in[0]), dy);
      },
      {x}, {executor_->GlobalAveragePoolBackward(x.shape(), dy)}));
}

TEST_F(ReferenceGradient, OfFlatten) {
  const Tensor x = RandomNormal({2, 3, 4, 5}, "x"), dy = RandomNormal({2, 60}, "dy");
  EXPECT_TRUE(GradientsMatch(
      [&](std::span<const Tensor> in) { return Dot(executor_->FlattenToChannelsFirst(in[0]), dy); },
      {x}, {executor_->UnflattenFromChannelsFirst(x.shape(), dy)}));
}

TEST_F(ReferenceGradient, OfActivations) {
  const Tensor x = RandomNormal({4, 9}, "x"), dy = RandomNormal({4, 9}, "dy");
  ASSERT_GT(DistanceFromZero(x), 1e-3);  // the kink of the ReLU
  for (const ActivationKind kind : kActivations) {
    SCOPED_TRACE(static_cast<int>(kind));
    const Tensor y = executor_->ActivationForward(kind, x);
    EXPECT_TRUE(GradientsMatch(
        [&](std::span<const Tensor> in) {
          return Dot(executor_->ActivationForward(kind, in[0]), dy);
        },
        {x}, {executor_->ActivationBackward(kind, IsFromInput(kind) ? x : y, dy)}));
  }
}

TEST_F(ReferenceGradient, OfDropoutIsDropoutOfTheGradient) {
  const Tensor x = RandomNormal({3, 2, 2, 5}, "x"), dy = RandomNormal({3, 2, 2, 5}, "dy");
  const std::vector<RandomKey> keys = Keys(3, "dropout");
  for (const double probability : {0.0, 0.3, 0.9}) {
    EXPECT_TRUE(GradientsMatch(
        [&](std::span<const Tensor> in) {
          return Dot(executor_->Dropout(in[0], keys, probability), dy);
        },
        {x}, {executor_->Dropout(dy, keys, probability)}));
  }
}

TEST_F(ReferenceGradient, OfWeightNorm) {
  const Tensor v = RandomNormal({3, 2, 2, 2}, "v"), gain = RandomNormal({3, 1, 1, 1}, "gain");
  const Tensor dweight = RandomNormal(v.shape(), "dweight");
  const WeightNormResult result = executor_->WeightNormForward(v, gain);
  Tensor dv = executor_->New(v.shape()), dgain = executor_->New(gain.shape());
  executor_->WeightNormBackward(v, gain, result.norms, dweight, {.tensor = dv}, {.tensor = dgain});
  EXPECT_TRUE(GradientsMatch(
      [&](std::span<const Tensor> in) {
        return Dot(executor_->WeightNormForward(in[0], in[1]).weight, dweight);
      },
      {v, gain}, {dv, dgain}));
}

TEST_F(ReferenceGradient, OfSoftmaxCrossEntropy) {
  const Tensor logits = RandomNormal({5, 7}, "logits", 0, 3);
  const Tensor labels = RandomLabels(5, "labels", 7);
  for (const double smoothing : {0.0, 0.1}) {
    for (const double scale : {1.0, 1.0 / 40}) {
      const Tensor dlogits =
          executor_->SoftmaxCrossEntropy(logits, labels, smoothing, scale, true).dlogits;
      EXPECT_TRUE(GradientsMatch(
          [&](std::span<const Tensor> in) {
            const Tensor losses =
                executor_->SoftmaxCrossEntropy(in[0], labels, smoothing, 1, false).losses;
            return scale * Dot(losses, Filled(losses.shape(), 1));
          },
          {logits}, {dlogits}));
    }
  }
}

}  // namespace
}  // namespace syncbn::backend
