#include "config/norm_fit.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "config/norm_kind.h"

namespace syncbn::config {
namespace {

TEST(FittingGroups, IsTheLargestDivisorThatIsNotLarger) {
  EXPECT_EQ(FittingGroups(64, 32), 32);
  EXPECT_EQ(FittingGroups(16, 32), 16);
  EXPECT_EQ(FittingGroups(20, 32), 20);
  EXPECT_EQ(FittingGroups(48, 32), 24);
  EXPECT_EQ(FittingGroups(7, 4), 1);
  // What validation meets in a wrong run file.
  EXPECT_EQ(FittingGroups(8, 0), 1);
  EXPECT_EQ(FittingGroups(8, -3), 1);
}

TEST(SamplesOfGroups, AreOneNumberOrNone) {
  EXPECT_EQ(SamplesOfGroups({4, 4, 4, 4}, 2), 8);
  EXPECT_EQ(SamplesOfGroups({5, 3, 3, 5}, 2), 8);
  EXPECT_EQ(SamplesOfGroups({5, 3, 4, 5}, 2), std::nullopt);
  EXPECT_EQ(SamplesOfGroups({5, 3, 4, 5}, 4), 17);
}

v1::NormSpec Norm(v1::NormKind kind) {
  v1::NormSpec norm;
  norm.set_kind(kind);
  norm.set_groups(32);
  return norm;
}

TEST(GroupOfOneSample, IsFoundInSlicesReplicasAndGroups) {
  EXPECT_EQ(GroupOfOneSample({.slice_samples = 2}, {4, 3}),
            "a replica's batch of 3 samples is cut into 2 + 1");
  EXPECT_EQ(GroupOfOneSample({.slice_samples = 1}, {8}),
            "a replica's batch of 8 samples is cut into 8 x 1");
  EXPECT_EQ(GroupOfOneSample({.slice_samples = 2}, {4, 8, 0}), "");
  EXPECT_EQ(GroupOfOneSample({}, {5, 2, 1, 6}), "a replica has a batch of 1 sample");
  EXPECT_EQ(GroupOfOneSample({}, {5, 0, 2}), "");
  EXPECT_EQ(GroupOfOneSample({.replicas_per_group = 2}, {1, 0, 2, 3}),
            "a group of 2 replicas has 1 sample");
  EXPECT_EQ(GroupOfOneSample({.replicas_per_group = 2}, {0, 1}),
            "all replicas together have 1 sample");
  EXPECT_EQ(GroupOfOneSample({.replicas_per_group = 4}, {1, 1, 1, 1}), "");
}

TEST(FewestSamples, AreThoseOfTheSmallestGroupThatHasAny) {
  EXPECT_EQ(FewestSamples({.slice_samples = 4}, {9, 8}), 3);
  EXPECT_EQ(FewestSamples({}, {5, 0, 2, 6}), 2);
  EXPECT_EQ(FewestSamples({.replicas_per_group = 2}, {5, 1, 2, 6}), 6);
  EXPECT_EQ(FewestSamples({}, {0, 0}), 0);
}

TEST(SlicesText, CountsManySlices) {
  EXPECT_EQ(SlicesText({3, 2}), "3 + 2");
  EXPECT_EQ(SlicesText({4, 4, 4, 3, 3}), "3 x 4 + 2 x 3");
}

TEST(NormalizesChannelsAlone, WhereAGroupIsAChannelOfASample) {
  const std::vector<int64_t> batches = {4, 4};
  EXPECT_TRUE(NormalizesChannelsAlone(Norm(v1::NORM_KIND_INSTANCE), 16, batches));
  EXPECT_TRUE(NormalizesChannelsAlone(Norm(v1::NORM_KIND_GROUP), 16, batches));
  EXPECT_TRUE(NormalizesChannelsAlone(Norm(v1::NORM_KIND_GROUP), 32, batches));
  EXPECT_FALSE(NormalizesChannelsAlone(Norm(v1::NORM_KIND_GROUP), 64, batches));
  EXPECT_TRUE(NormalizesChannelsAlone(Norm(v1::NORM_KIND_LAYER), 1, batches));
  EXPECT_FALSE(NormalizesChannelsAlone(Norm(v1::NORM_KIND_LAYER), 2, batches));
  EXPECT_FALSE(NormalizesChannelsAlone(Norm(v1::NORM_KIND_NONE), 1, batches));
  v1::NormSpec batch = Norm(v1::NORM_KIND_BATCH);
  EXPECT_FALSE(NormalizesChannelsAlone(batch, 16, batches));
  batch.mutable_batch()->set_samples(1);
  EXPECT_TRUE(NormalizesChannelsAlone(batch, 16, batches));
}

TEST(NormKind, WithoutCodeIsAnErrorWhereverARuleDependsOnIt) {
  const auto kind = static_cast<v1::NormKind>(99);
  EXPECT_THROW(IsNormLayer(kind), Error);
  EXPECT_THROW(NormalizesChannelsAlone(Norm(kind), 16, {4, 4}), Error);
  EXPECT_THROW(IsAfterActivation(static_cast<v1::NormPlacement>(99)), Error);
}

TEST(NormKind, DecidesOverBiasAndWeightOfTheLayerBeforeIt) {
  v1::ModelSpec model;
  model.add_layers()->mutable_conv();
  model.add_layers()->mutable_norm()->set_kind(v1::NORM_KIND_BATCH);
  model.add_layers()->mutable_linear();
  model.add_layers()->mutable_norm()->set_kind(v1::NORM_KIND_WEIGHT);
  model.add_layers()->mutable_norm()->set_kind(v1::NORM_KIND_WEIGHT);
  const LayerSpecs& layers = model.layers();
  EXPECT_TRUE(NormLayerFollows(layers, 0));
  EXPECT_FALSE(WeightNormFollows(layers, 0));
  EXPECT_FALSE(NormLayerFollows(layers, 2));
  EXPECT_TRUE(WeightNormFollows(layers, 2));
  EXPECT_FALSE(WeightNormFollows(layers, 4));
  EXPECT_TRUE(HasItsWeight(layers, 1)) << "a norm that needs none";
  EXPECT_TRUE(HasItsWeight(layers, 3));
  EXPECT_FALSE(HasItsWeight(layers, 4)) << "behind another norm";
}

}  // namespace
}  // namespace syncbn::config
