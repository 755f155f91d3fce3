#include "data/shapes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "tests/data/data_files.h"

namespace syncbn::data {
namespace {

TEST(Shapes, PixelsAreTheSameOnEveryMachine) {
  const DatasetPair pair =
      MakeFromText("dataset: DATASET_SHAPES shapes { train_samples: 200 test_samples: 100 }", 1);
  EXPECT_EQ(pair.train->ComputeDigest().Hex(), "57728f398569d46f2371ba1a398e858a");
  EXPECT_EQ(pair.test->ComputeDigest().Hex(), "c9f7aca6f2a0e87307b2956257e0fc97");
}

TEST(Shapes, ASampleDependsOnSeedSplitAndIndexAlone) {
  const Dataset few(MakeShapes(1, Split::kTrain, 30)), many(MakeShapes(1, Split::kTrain, 77));
  const Dataset other_seed(MakeShapes(2, Split::kTrain, 30));
  const Dataset test(MakeShapes(1, Split::kTest, 30));
  std::set<Bytes> distinct;
  for (int64_t i = 0; i < 30; ++i) {
    const auto pixels = [i](const Dataset& dataset) {
      return Bytes(dataset.Image(i).begin(), dataset.Image(i).end());
    };
    EXPECT_EQ(pixels(few), pixels(many));
    EXPECT_EQ(few.Label(i), many.Label(i));
    distinct.insert(pixels(few));
    distinct.insert(pixels(other_seed));
    distinct.insert(pixels(test));
  }
  EXPECT_EQ(distinct.size(), 90u);
}

TEST(Shapes, LimitsTakeTheFirstSamples) {
  const std::string spec = "dataset: DATASET_SHAPES shapes { train_samples: 50 test_samples: 40 }";
  const DatasetPair whole = MakeFromText(spec), cut = MakeFromText(spec + " train_limit: 7");
  ASSERT_EQ(cut.train->size(), 7);
  ASSERT_EQ(cut.test->size(), 40);
  for (int64_t i = 0; i < 7; ++i) {
    EXPECT_THAT(cut.train->Image(i), testing::ElementsAreArray(whole.train->Image(i)));
  }
}

TEST(Shapes, EveryTenSamplesHaveEveryClassOnce) {
  for (int64_t block = 0; block < 50; ++block) {
    std::set<int32_t> labels;
    for (int64_t i = 0; i < 10; ++i) labels.insert(ShapeLabel(3, Split::kTest, 10 * block + i));
    ASSERT_EQ(labels.size(), 10u);
  }
  EXPECT_EQ(kShapeNames.size(), 10u);
}

// Softmax regression on standardized pixels, by SGD with momentum. Returns the share of `test` that
// it gets right.
class SoftmaxRegression {
 public:
  SoftmaxRegression(const Dataset& train, int epochs) : features_(train.image_shape().elements()) {
    const ChannelStatistics statistics = train.ComputeStatistics();
    mean_ = statistics.mean;
    std_ = statistics.std;
    weights_.resize(static_cast<size_t>((features_ + 1) * kLanes));
    std::vector<float> velocity(weights_.size()), gradient(weights_.size());
    for (int epoch = 0; epoch < epochs; ++epoch) {
      for (int64_t i = 0; i < train.size(); ++i) {
        AddGradient(Features(train, i), train.Label(i), gradient);
        if (i % kBatch != kBatch - 1) continue;
        for (size_t w = 0; w < weights_.size(); ++w) {
          velocity[w] = 0.9f * velocity[w] + gradient[w] / kBatch;
          weights_[w] -= 0.0005f * velocity[w];
          gradient[w] = 0;
        }
      }
    }
  }

  double Accuracy(const Dataset& test) const {
    int64_t right = 0;
    for (int64_t i = 0; i < test.size(); ++i) {
      const Lanes logits = Logits(Features(test, i));
      right +=
          std::max_element(logits.begin(), logits.begin() + 10) - logits.begin() == test.Label(i);
    }
    return static_cast<double>(right) / static_cast<double>(test.size());
  }

 private:
  static constexpr size_t kLanes = 16;  // ten classes, padded for vector instructions
  static constexpr int64_t kBatch = 32;
  using Lanes = std::array<float, kLanes>;

  std::vector<float> Features(const Dataset& dataset, int64_t index) const {
    std::vector<float> features;
    const auto image = dataset.Image(index);
    const size_t channels = mean_.size();
    for (size_t i = 0; i < image.size(); ++i) {
      features.push_back(
          static_cast<float>((image[i] / 255.0 - mean_[i % channels]) / std_[i % channels]));
    }
    features.push_back(1);
    return features;
  }

  Lanes Logits(const std::vector<float>& features) const {
    Lanes logits{};
    for (size_t f = 0; f < features.size(); ++f) {
      for (size_t k = 0; k < kLanes; ++k) logits[k] += features[f] * weights_[f * kLanes + k];
    }
    return logits;
  }

  void AddGradient(const std::vector<float>& features, int32_t label,
                   std::vector<float>& gradient) const {
    Lanes slope = Logits(features);
    const float largest = *std::max_element(slope.begin(), slope.begin() + 10);
    float sum = 0;
    for (size_t k = 0; k < 10; ++k) sum += slope[k] = std::exp(slope[k] - largest);
    for (size_t k = 0; k < 10; ++k) slope[k] /= sum;
    slope[static_cast<size_t>(label)] -= 1;
    for (size_t k = 10; k < kLanes; ++k) slope[k] = 0;
    for (size_t f = 0; f < features.size(); ++f) {
      for (size_t k = 0; k < kLanes; ++k) gradient[f * kLanes + k] += features[f] * slope[k];
    }
  }

  int64_t features_;
  std::vector<double> mean_, std_;
  std::vector<float> weights_;
};

// Images that a linear model can tell apart: class k is brighter in column 3 k.
Dataset Columns(Split split, int64_t samples) {
  Dataset::Content content = MakeShapes(4, split, samples);
  for (int64_t i = 0; i < samples; ++i) {
    for (int64_t y = 0; y < kShapeSide; ++y) {
      const int64_t x = 3 * content.labels[static_cast<size_t>(i)];
      uint8_t* pixel = content.images.data() + i * kShapeBytes + (y * kShapeSide + x) * 3;
      for (int c = 0; c < 3; ++c) pixel[c] = static_cast<uint8_t>(128 + pixel[c] / 2);
    }
  }
  return Dataset(std::move(content));
}

TEST(Shapes, ALinearModelFails) {
  constexpr int64_t kTrain = 1200, kTest = 500;
  const SoftmaxRegression control(Columns(Split::kTrain, kTrain), 4);
  EXPECT_GT(control.Accuracy(Columns(Split::kTest, kTest)), 0.9) << "the regression itself works";

  const Dataset train(MakeShapes(1, Split::kTrain, kTrain)),
      test(MakeShapes(1, Split::kTest, kTest));
  const SoftmaxRegression regression(train, 5);
  EXPECT_GT(regression.Accuracy(train), 0.2) << "it did learn something by heart";
  EXPECT_LT(regression.Accuracy(test), 0.3);
}

TEST(Shapes, TheNearestTrainingImageFailsToo) {
  const Dataset train(MakeShapes(1, Split::kTrain, 500)), test(MakeShapes(1, Split::kTest, 100));
  int right = 0;
  for (int64_t i = 0; i < test.size(); ++i) {
    const std::span<const uint8_t> image = test.Image(i);
    int64_t best = -1;
    int least = 0;
    for (int64_t j = 0; j < train.size(); ++j) {
      const std::span<const uint8_t> candidate = train.Image(j);
      int distance = 0;
      for (size_t p = 0; p < image.size(); ++p) {
        distance += (image[p] - candidate[p]) * (image[p] - candidate[p]);
      }
      if (best < 0 || distance < least) {
        best = j;
        least = distance;
      }
    }
    right += train.Label(best) == test.Label(i);
  }
  EXPECT_LT(right, 35);
}

}  // namespace
}  // namespace syncbn::data
