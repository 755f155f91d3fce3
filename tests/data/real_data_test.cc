// The public data sets themselves, where SYNCBN_TEST_DATA names a folder that holds mnist/ and
// cifar-10-batches-bin/.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "data/dataset.h"
#include "tests/data/data_files.h"

namespace syncbn::data {
namespace {

class RealData : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("SYNCBN_TEST_DATA");
    if (folder == nullptr || *folder == '\0') {
      GTEST_SKIP() << "SYNCBN_TEST_DATA is not set: no real data to read";
    }
    folder_ = folder;
  }

  std::string Spec(const std::string& dataset, const std::string& subfolder) const {
    return "dataset: " + dataset + " path: '" + (folder_ / subfolder).string() + "'";
  }

  std::filesystem::path folder_;
};

std::vector<int> ClassCounts(const Dataset& dataset) {
  std::vector<int> counts(static_cast<size_t>(dataset.classes()));
  for (int64_t i = 0; i < dataset.size(); ++i) ++counts[static_cast<size_t>(dataset.Label(i))];
  return counts;
}

TEST_F(RealData, MnistHasItsKnownLabelsAndStatistics) {
  const DatasetPair pair = MakeFromText(Spec("DATASET_MNIST", "mnist"));
  ASSERT_EQ(pair.train->size(), 60000);
  ASSERT_EQ(pair.test->size(), 10000);
  EXPECT_EQ(pair.train->Label(0), 5);
  EXPECT_EQ(pair.test->Label(0), 7);
  EXPECT_EQ(ClassCounts(*pair.train),
            (std::vector<int>{5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949}));
  const ChannelStatistics statistics = pair.train->ComputeStatistics();
  EXPECT_NEAR(statistics.mean[0], 0.1306604762738429, 1e-12);
  EXPECT_NEAR(statistics.std[0], 0.3081078038564622, 1e-12);
}

TEST_F(RealData, Cifar10IsBalancedAndHasItsKnownStatistics) {
  const DatasetPair pair = MakeFromText(Spec("DATASET_CIFAR10", "cifar-10-batches-bin"));
  EXPECT_EQ(ClassCounts(*pair.train), std::vector<int>(10, 5000));
  EXPECT_EQ(ClassCounts(*pair.test), std::vector<int>(10, 1000));
  // Published figures to three digits; the copy used in tests may have been through JPEG.
  const ChannelStatistics statistics = pair.train->ComputeStatistics();
  const double mean[] = {0.4914, 0.4822, 0.4465}, std[] = {0.2470, 0.2435, 0.2616};
  for (size_t c = 0; c < 3; ++c) {
    EXPECT_NEAR(statistics.mean[c], mean[c], 0.003);
    EXPECT_NEAR(statistics.std[c], std[c], 0.003);
  }
}

}  // namespace
}  // namespace syncbn::data
