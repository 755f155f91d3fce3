// Layer, instance and group normalization.
#include "nn/sample_norm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/nn/norm_support.h"
#include "tests/nn/support.h"

namespace syncbn::nn {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Tensor Forward(const NormNet& net, const Part& part, Mode mode = Mode::kTrain) {
  return net.AsImages(RunPass(*net.model, net.Settings(mode), part).logits);
}

TEST(SampleNorm, LayerNormIsOverAllFeaturesOfASample) {
  const NormNet net(3, 2, 4, "kind: NORM_KIND_LAYER affine: false");
  const Part part = net.Data(5);
  const Tensor expected =
      Normalized(part.images, 1e-5, [](int64_t sample, int64_t) { return sample; });
  EXPECT_TRUE(Near(Forward(net, part), expected, 1e-13));
}

TEST(SampleNorm, LayerNormOfFeaturesHasAScaleAndAShiftForEach) {
  const auto model =
      MakeModel("layers {flatten {}} layers {norm {kind: NORM_KIND_LAYER}}", {2, 2, 3, 12});
  EXPECT_EQ(model->parameters()[model->parameters().Find("1.weight")].shape, (Shape{12}));
  EXPECT_EQ(model->parameters()[model->parameters().Find("1.bias")].shape, (Shape{12}));
}

TEST(SampleNorm, InstanceNormIsOverHeightAndWidthOfEachChannel) {
  const NormNet net(3, 2, 4, "kind: NORM_KIND_INSTANCE affine: false");
  const Part part = net.Data(5);
  const Tensor expected = Normalized(
      part.images, 1e-5, [](int64_t sample, int64_t channel) { return sample * 4 + channel; });
  EXPECT_TRUE(Near(Forward(net, part), expected, 1e-13));
}

TEST(SampleNorm, GroupNormIsOverGroupsOfConsecutiveChannels) {
  const NormNet net(3, 2, 6, "kind: NORM_KIND_GROUP groups: 3 affine: false");
  const Part part = net.Data(5);
  const Tensor expected = Normalized(
      part.images, 1e-5, [](int64_t sample, int64_t channel) { return sample * 3 + channel / 2; });
  EXPECT_TRUE(Near(Forward(net, part), expected, 1e-13));
}

TEST(SampleNorm, OneGroupIsLayerNormAndAsManyAsChannelsIsInstanceNorm) {
  const NormNet layer(3, 2, 4, "kind: NORM_KIND_LAYER"),
      instance(3, 2, 4, "kind: NORM_KIND_INSTANCE");
  const NormNet one(3, 2, 4, "kind: NORM_KIND_GROUP groups: 1");
  const NormNet all(3, 2, 4, "kind: NORM_KIND_GROUP groups: 4");
  const Part part = layer.Data(3);
  EXPECT_TRUE(SameBits(Forward(one, part), Forward(layer, part)));
  EXPECT_TRUE(SameBits(Forward(all, part), Forward(instance, part)));
}

TEST(SampleNorm, IsTheSameInInferenceAndNeverSeesAnotherSample) {
  for (const char* norm :
       {"kind: NORM_KIND_LAYER", "kind: NORM_KIND_INSTANCE", "kind: NORM_KIND_GROUP groups: 2"}) {
    const NormNet net(3, 2, 4, norm);
    EXPECT_EQ(net.model->running_statistics().size(), 0);
    const Part part = net.Data(3);
    const Tensor train = Forward(net, part);
    EXPECT_TRUE(SameBits(Forward(net, part, Mode::kEvaluate), train));
    const Part one{.images = part.images.Rows(1, 2), .dlogits = part.dlogits.Rows(1, 2)};
    EXPECT_TRUE(SameBits(Forward(net, one), train.Rows(1, 2)));
  }
}

TEST(SampleNorm, AnEmptyBatchWorks) {
  const NormNet net(3, 2, 4, "kind: NORM_KIND_LAYER");
  const PassResult result = RunPass(*net.model, net.Settings(), net.Data(0));
  EXPECT_EQ(result.logits.shape(), (Shape{0, 24}));
  EXPECT_EQ(MaxAbsolute(result.gradients), 0);
}

TEST(SampleNorm, AGroupOfOneElementIsRefused) {
  EXPECT_THAT(
      ErrorOf([] {
        MakeModel("layers {flatten {}} layers {norm {kind: NORM_KIND_INSTANCE}}", {1, 1, 3, 3});
      }),
      AllOf(HasSubstr("layer 1"), HasSubstr("single element"), HasSubstr("[1, 3]")));
}

}  // namespace
}  // namespace syncbn::nn
