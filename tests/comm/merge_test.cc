#include "comm/merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "base/error.h"
#include "tests/comm/support.h"

namespace syncbn::comm {
namespace {

std::vector<double> MomentsOf(const std::vector<double>& x) {
  long double mean = 0, m2 = 0;
  for (double value : x) mean += value;
  if (!x.empty()) mean /= static_cast<long double>(x.size());
  for (double value : x) m2 += (value - mean) * (value - mean);
  return {static_cast<double>(x.size()), static_cast<double>(mean), static_cast<double>(m2)};
}

TEST(MergeMoments, EqualsTheMomentsOfAllSamples) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  const int64_t channels = 1;
  for (const double offset : {0.0, 1e2, 1e5}) {
    for (const int left : {1, 2, 7, 100}) {
      for (const int right : {1, 3, 250}) {
        std::vector<double> a, b, all;
        for (int i = 0; i < left; ++i) a.push_back(offset + normal(random));
        for (int i = 0; i < right; ++i) b.push_back(offset + normal(random));
        all = a;
        all.insert(all.end(), b.begin(), b.end());
        std::vector<double> merged = MomentsOf(a);
        MergeMoments({&channels, 1}, merged, MomentsOf(b));
        const std::vector<double> wanted = MomentsOf(all);
        EXPECT_EQ(merged[0], wanted[0]);
        EXPECT_NEAR(merged[1], wanted[1], 1e-15 * (1 + offset));
        // Relative to the spread of the data: the mean is given in double, so delta is good to
        // offset * 2^-53.
        EXPECT_NEAR(merged[2], wanted[2], 1e-14 * (1 + offset) * wanted[2] + 1e-300);
      }
    }
  }
}

TEST(Merge, AnOperationThatNobodyHasTaughtItIsAnError) {
  std::vector<double> values = {1, 2, 3};
  Content content{.operation = static_cast<Operation>(9), .dtype = DType::kFloat64, .elements = 3};
  EXPECT_THROW(CheckContent(content), Error);
  EXPECT_THROW(CutIntoRanges(content, 2), Error);
  EXPECT_THROW(MergeRange(content, {0, 3}, values.data(), values.data()), Error);
  content = {.operation = Operation::kSum, .dtype = static_cast<DType>(9), .elements = 3};
  EXPECT_THROW(MergeRange(content, {0, 3}, values.data(), values.data()), Error);
  EXPECT_EQ(values, (std::vector<double>{1, 2, 3}));
}

TEST(MergeMoments, ASideWithoutSamplesChangesNothing) {
  const std::vector<int64_t> channels = {2, 1};
  const std::vector<double> some = {3, 1, 2, 0.5, 0.25, 4, -1, 7};
  const std::vector<double> none = {0, 9, 9, 9, 9, 0, 9, 9};
  std::vector<double> left = some;
  MergeMoments(channels, left, none);
  EXPECT_EQ(left, some);
  std::vector<double> right = none;
  MergeMoments(channels, right, some);
  EXPECT_EQ(right, some);
}

TEST(MergeMoments, RefusesBlocksThatDoNotFit) {
  const std::vector<int64_t> channels = {2};
  std::vector<double> dst(7), src(7);
  EXPECT_THROW(MergeMoments(channels, dst, src), Error);
}

TEST(MergeRange, TheValueOfAnElementDoesNotDependOnItsPlaceOrAlignment) {
  std::mt19937 random(5);
  const std::vector<float> a = testing::NastyFloats(333, random), b = testing::NastyFloats(333, random);
  Content content{.operation = Operation::kSum, .dtype = DType::kFloat32, .elements = 333};
  std::vector<float> whole = a;
  MergeRange(content, {0, 333}, whole.data(), b.data());
  for (int begin = 0; begin < 20; ++begin) {
    for (int length = 0; length < 40; ++length) {
      std::vector<float> part(a.begin() + begin, a.begin() + begin + length);
      MergeRange(content, {begin, begin + length}, part.data(), b.data() + begin);
      ASSERT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + begin,
                             [](float x, float y) {
                               return std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y);
                             }))
          << begin << " " << length;
    }
  }
}

TEST(MergeRange, MakesEveryNaNTheSame) {
  Content content{.operation = Operation::kSum, .dtype = DType::kFloat32, .elements = 2};
  const float inf = std::numeric_limits<float>::infinity();
  float payload;
  const uint32_t bits = 0xffc12345u;
  std::memcpy(&payload, &bits, 4);
  std::vector<float> a = {inf, payload}, b = {-inf, 1};
  MergeRange(content, {0, 2}, a.data(), b.data());
  for (float value : a) {
    uint32_t got;
    std::memcpy(&got, &value, 4);
    EXPECT_EQ(got, 0x7fc00000u);
  }
}

TEST(MergeRange, IntegersWrap) {
  Content content{.operation = Operation::kSum, .dtype = DType::kInt32, .elements = 1};
  int32_t a = std::numeric_limits<int32_t>::max(), b = 1;
  MergeRange(content, {0, 1}, &a, &b);
  EXPECT_EQ(a, std::numeric_limits<int32_t>::min());
}

TEST(CheckContent, RefusesSumsOfBytesAndMomentsOfTheWrongSize) {
  EXPECT_THROW(CheckContent({.dtype = DType::kUint8, .elements = 3}), Error);
  const std::vector<int64_t> channels = {4};
  EXPECT_THROW(CheckContent({.operation = Operation::kMergeMoments,
                             .dtype = DType::kFloat64,
                             .elements = 8,
                             .channels = channels}),
               Error);
}

TEST(CutIntoRanges, CoversTheMessageInOrder) {
  const std::vector<int64_t> channels = {5, 64, 1, -16, 16, 512, -3};
  int64_t moments = 0;
  std::vector<int64_t> borders{0};
  for (int64_t c : channels) borders.push_back(moments += backend::MomentsElements(c));
  for (int parts = 1; parts <= 12; ++parts) {
    const Content sum{.dtype = DType::kFloat32, .elements = 1003};
    const Content blocks{.operation = Operation::kMergeMoments,
                         .dtype = DType::kFloat64,
                         .elements = moments,
                         .channels = channels};
    for (const Content& content : {sum, blocks}) {
      int64_t next = 0;
      for (const Range& range : CutIntoRanges(content, parts)) {
        EXPECT_EQ(range.begin, next);
        EXPECT_LE(range.begin, range.end);
        if (content.operation == Operation::kMergeMoments) {
          EXPECT_THAT(borders, ::testing::Contains(range.begin));
        } else {
          EXPECT_LE(range.size(), 1003 / parts + 1003 % parts + 16);
        }
        next = range.end;
      }
      EXPECT_EQ(next, content.elements);
    }
  }
}

}  // namespace
}  // namespace syncbn::comm
