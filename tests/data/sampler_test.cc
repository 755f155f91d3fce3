#include "data/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace syncbn::data {
namespace {

std::vector<uint64_t> Identity(int64_t samples) {
  std::vector<uint64_t> order(static_cast<size_t>(samples));
  std::iota(order.begin(), order.end(), uint64_t{0});
  return order;
}

TEST(Sampler, EveryEpochIsAPermutation) {
  for (int64_t samples : {0, 1, 2, 3, 100, 4097}) {
    const Sampler sampler({.samples = samples, .seed = 5});
    for (int64_t epoch : {0, 1, 7}) {
      std::vector<uint64_t> order = sampler.Order(epoch);
      std::sort(order.begin(), order.end());
      EXPECT_EQ(order, Identity(samples)) << samples << " samples, epoch " << epoch;
    }
  }
}

TEST(Sampler, OrderIsAFunctionOfSeedAndEpoch) {
  const Sampler sampler({.samples = 1000, .seed = 5});
  EXPECT_EQ(sampler.Order(3), Sampler({.samples = 1000, .seed = 5}).Order(3));
  EXPECT_NE(sampler.Order(3), sampler.Order(4));
  EXPECT_NE(sampler.Order(3), Sampler({.samples = 1000, .seed = 6}).Order(3));
  EXPECT_NE(sampler.Order(0), Identity(1000));
}

TEST(Sampler, EverySampleIsAsLikelyAtEveryPlace) {
  constexpr int kSamples = 6, kEpochs = 30000;
  const Sampler sampler({.samples = kSamples, .seed = 9});
  std::vector<int> counts(kSamples * kSamples);
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    const std::vector<uint64_t> order = sampler.Order(epoch);
    for (size_t place = 0; place < kSamples; ++place) ++counts[place * kSamples + order[place]];
  }
  // 5000 expected, standard deviation 65; 5 of them.
  for (int count : counts) EXPECT_NEAR(count, kEpochs / kSamples, 325);
}

TEST(Sampler, WithoutShufflingTheOrderIsThatOfTheFiles) {
  const Sampler sampler({.samples = 10, .seed = 5, .shuffle = false});
  EXPECT_EQ(sampler.Order(0), Identity(10));
  EXPECT_EQ(sampler.Order(8), Identity(10));
}

}  // namespace
}  // namespace syncbn::data
