#include "data/dataset.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/data/data_files.h"

namespace syncbn::data {
namespace {

Dataset::Content TwoPixels() {
  return {.name = "two",
          .split = Split::kTrain,
          .image = {1, 2, 2},
          .classes = 3,
          // channel 0: 0 51 102 255; channel 1: 10 throughout
          .images = {0, 10, 51, 10, 102, 10, 255, 10},
          .labels = {0, 2}};
}

TEST(Dataset, StatisticsAreThoseOfEachChannel) {
  const ChannelStatistics statistics = Dataset(TwoPixels()).ComputeStatistics();
  ASSERT_EQ(statistics.mean.size(), 2u);
  // Sum 408, sum of squares 78030: 4 * 78030 - 408^2 = 145656.
  EXPECT_EQ(statistics.mean[0], 408.0 / 4 / 255);
  EXPECT_EQ(statistics.std[0], std::sqrt(145656.0) / 4 / 255);
  EXPECT_DOUBLE_EQ(statistics.mean[1], 10.0 / 255);
  EXPECT_EQ(statistics.std[1], 0.0);
}

TEST(Dataset, ImagesAndLabelsAreThoseOfTheSample) {
  const Dataset dataset{TwoPixels()};
  EXPECT_EQ(dataset.size(), 2);
  EXPECT_EQ(dataset.Label(1), 2);
  const auto image = dataset.Image(1);
  EXPECT_EQ(Bytes(image.begin(), image.end()), (Bytes{102, 10, 255, 10}));
  EXPECT_THROW(dataset.Image(2), Error);
  EXPECT_THROW(dataset.Label(-1), Error);
}

TEST(Dataset, DigestChangesWithEveryPartOfTheContent) {
  const Digest digest = Dataset(TwoPixels()).ComputeDigest();
  EXPECT_EQ(Dataset(TwoPixels()).ComputeDigest(), digest);
  Dataset::Content content = TwoPixels();
  content.name = "of another name";
  EXPECT_EQ(Dataset(content).ComputeDigest(), digest);
  content.images[7] ^= 1;
  EXPECT_NE(Dataset(content).ComputeDigest(), digest);
  content = TwoPixels();
  content.labels[1] = 1;
  EXPECT_NE(Dataset(content).ComputeDigest(), digest);
  content = TwoPixels();
  content.classes = 4;
  EXPECT_NE(Dataset(content).ComputeDigest(), digest);
  content = TwoPixels();
  content.image = {2, 1, 2};
  EXPECT_NE(Dataset(content).ComputeDigest(), digest);
  content = TwoPixels();
  content.split = Split::kTest;
  EXPECT_NE(Dataset(content).ComputeDigest(), digest);
}

TEST(Dataset, RefusesSizesThatDoNotFit) {
  Dataset::Content content = TwoPixels();
  content.images.pop_back();
  EXPECT_THROW(Dataset{content}, Error);
  content = TwoPixels();
  content.labels[0] = 3;
  EXPECT_THROW(Dataset{content}, Error);
}

TEST(MakeDataset, RefusesASpecWithoutADataset) {
  const Error error = ErrorOf("");
  EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace syncbn::data
