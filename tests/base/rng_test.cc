#include "base/rng.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace syncbn {
namespace {

// Known answers from the Random123 distribution (kat_vectors).
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(Philox4x32({0, 0}, {0, 0, 0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomKey, FoldingDependsOnOrderAndKind) {
  const RandomKey key(7);
  EXPECT_NE(key.Fold(1).Fold(2).value(), key.Fold(2).Fold(1).value());
  EXPECT_NE(key.Fold("a").value(), key.Fold("b").value());
  EXPECT_NE(key.Fold(0).value(), key.value());
  EXPECT_EQ(key.Fold("a").Fold(3).value(), RandomKey(7).Fold("a").Fold(3).value());
}

TEST(RandomStream, BelowIsUniform) {
  RandomStream stream(RandomKey(1));
  std::vector<int> counts(10);
  for (int i = 0; i < 100000; ++i) ++counts[stream.Below(10)];
  for (int count : counts) EXPECT_NEAR(count, 10000, 5 * std::sqrt(9000.0));
}

TEST(RandomStream, NormalHasMeanZeroAndVarianceOne) {
  RandomStream stream(RandomKey(2));
  double sum = 0, squares = 0;
  constexpr int kCount = 200000;
  for (int i = 0; i < kCount; ++i) {
    const double value = stream.Normal();
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / kCount, 0, 5 / std::sqrt(kCount));
  EXPECT_NEAR(squares / kCount, 1, 5 * std::sqrt(2.0 / kCount));
}

TEST(RandomStream, UniformStaysBelowOne) {
  RandomStream stream(RandomKey(3));
  for (int i = 0; i < 100000; ++i) {
    const float value = stream.Uniform();
    ASSERT_GE(value, 0.0f);
    ASSERT_LT(value, 1.0f);
  }
}

}  // namespace
}  // namespace syncbn
