#include "data/batch_maker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <tuple>
#include <utility>

#include "syncbn/v1/run.pb.h"
#include "tests/data/data_files.h"

namespace syncbn::data {
namespace {

std::vector<float> Pixels(const Tensor& images, int64_t index) {
  const Tensor row = images.Rows(index, index + 1);
  const auto span = row.Span<float>();
  return {span.begin(), span.end()};
}

TEST(BatchMaker, PixelsAreStandardizedPerChannel) {
  const Dataset dataset = PatternDataset(3);
  const ChannelStatistics statistics{{0.25, 0.5}, {0.125, 2}};
  const BatchMaker maker(dataset, {.standardize = statistics});
  const std::vector<uint64_t> ids = {2, 0};
  const Batch batch = maker.Make(ids, 0);
  EXPECT_EQ(batch.images.shape(), (Shape{2, 3, 4, 2}));
  EXPECT_EQ(batch.labels.shape(), (Shape{2}));
  EXPECT_EQ(batch.sample_ids, ids);
  EXPECT_EQ(batch.labels.Span<int32_t>()[0], 2);
  EXPECT_EQ(batch.labels.Span<int32_t>()[1], 0);
  for (int64_t i = 0; i < 24; ++i) {
    const double value = static_cast<double>(14 + i) / 255.0;
    const double expected = i % 2 == 0 ? (value - 0.25) / 0.125 : (value - 0.5) / 2;
    EXPECT_EQ(Pixels(batch.images, 0)[static_cast<size_t>(i)], static_cast<float>(expected));
  }
}

TEST(BatchMaker, StandardizedTrainingSplitHasMeanZeroAndStdOne) {
  const Dataset dataset = PatternDataset(40);
  const BatchMaker maker(dataset, {.standardize = dataset.ComputeStatistics()});
  std::vector<uint64_t> ids;
  for (uint64_t i = 0; i < 40; ++i) ids.push_back(i);
  const Batch batch = maker.Make(ids, 0);
  double sum[2] = {0, 0}, squares[2] = {0, 0};
  const auto pixels = batch.images.Span<float>();
  for (size_t i = 0; i < pixels.size(); ++i) {
    sum[i % 2] += pixels[i];
    squares[i % 2] += static_cast<double>(pixels[i]) * pixels[i];
  }
  for (int c = 0; c < 2; ++c) {
    EXPECT_NEAR(sum[c] / 480, 0, 1e-6);
    EXPECT_NEAR(squares[c] / 480, 1, 1e-6);
  }
}

TEST(BatchMaker, WithoutStatisticsPixelsLieBetweenZeroAndOne) {
  const Dataset dataset = PatternDataset(2);
  const Batch batch = BatchMaker(dataset, {}).Make(std::vector<uint64_t>{1}, 0);
  for (size_t i = 0; i < 24; ++i) {
    EXPECT_EQ(Pixels(batch.images, 0)[i], static_cast<float>((7 + static_cast<double>(i)) / 255.0));
  }
}

TEST(BatchMaker, AConstantChannelIsOnlyShifted) {
  Dataset::Content content{.name = "flat", .image = {1, 1, 1}, .classes = 1};
  content.images = {51, 51};
  content.labels = {0, 0};
  const Dataset dataset(content);
  const BatchMaker maker(dataset, {.standardize = dataset.ComputeStatistics()});
  EXPECT_EQ(maker.Make(std::vector<uint64_t>{0}, 0).images.Span<float>()[0], 0.0f);
}

TEST(BatchMaker, AnEmptyBatchHasTheShapeOfTheImages) {
  const Dataset dataset = PatternDataset(2);
  const Batch batch = BatchMaker(dataset, {}).Make({}, 0);
  EXPECT_EQ(batch.size(), 0);
  EXPECT_TRUE(batch.images.defined());
  EXPECT_EQ(batch.images.shape(), (Shape{0, 3, 4, 2}));
  EXPECT_EQ(batch.labels.shape(), (Shape{0}));
}

TEST(BatchMaker, ASampleThatDoesNotExistIsAnError) {
  const Dataset dataset = PatternDataset(2);
  EXPECT_THROW(BatchMaker(dataset, {}).Make(std::vector<uint64_t>{2}, 0), Error);
}

// The change applied the obvious way: pad, crop, flip, cut out.
std::vector<float> Changed(const Dataset& dataset, int64_t sample, const ImageChange& change) {
  std::vector<float> result;
  const auto image = dataset.Image(sample);
  const auto [height, width, channels] = dataset.image_shape();
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const int64_t crop_x = change.flip ? width - 1 - x : x;
      const int64_t from_y = y + change.dy, from_x = crop_x + change.dx;
      const bool inside = from_y >= 0 && from_y < height && from_x >= 0 && from_x < width;
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t at = (from_y * width + from_x) * channels + c;
        const double value = inside ? image[static_cast<size_t>(at)] / 255.0 : 0.0;
        const bool cut = y >= change.cut.top && y < change.cut.bottom && x >= change.cut.left &&
                         x < change.cut.right;
        result.push_back(cut ? 0.0F : static_cast<float>((value - 0.5) / 0.25));
      }
    }
  }
  return result;
}

TEST(BatchMaker, PaddingIsBlackBeforeStandardizationAndACutZeroAfterIt) {
  for (int64_t channels : {1, 2, 3, 4}) {
    const Dataset dataset = PatternDataset(60, {3, 4, channels});
    const std::vector<double> mean(static_cast<size_t>(channels), 0.5);
    const std::vector<double> std(static_cast<size_t>(channels), 0.25);
    for (const auto& [padding, cutout] : std::initializer_list<std::pair<int64_t, int64_t>>{
             {0, 0}, {2, 0}, {7, 0}, {0, 1}, {2, 2}, {2, 9}}) {
      // With a padding of 7 the crop may miss the image altogether.
      const AugmentOptions augment{
          .crop_padding = padding, .horizontal_flip = true, .cutout = cutout};
      const BatchMaker maker(dataset, {.augment = augment, .seed = 3, .standardize = {mean, std}});
      for (uint64_t sample = 0; sample < 60; ++sample) {
        const Batch batch = maker.Make(std::vector<uint64_t>{sample}, 4);
        const ImageChange change = DrawChange(augment, AugmentKey(3, 4, sample), 3, 4);
        ASSERT_EQ(Pixels(batch.images, 0), Changed(dataset, static_cast<int64_t>(sample), change))
            << change.dy << " " << change.dx << " " << change.flip << ", cut " << cutout << " at "
            << change.cut.top << " " << change.cut.left;
      }
    }
  }
}

TEST(BatchMaker, ASampleLooksTheSameWhereverItLiesInAnEpoch) {
  const Dataset dataset = PatternDataset(20);
  const BatchMaker maker(dataset,
                         {.augment = {.crop_padding = 1, .horizontal_flip = true}, .seed = 3});
  const Batch alone = maker.Make(std::vector<uint64_t>{13}, 2);
  const Batch among = maker.Make(std::vector<uint64_t>{4, 5, 13, 6}, 2);
  EXPECT_EQ(Pixels(alone.images, 0), Pixels(among.images, 2));
  int changed = 0;
  for (int64_t epoch = 3; epoch < 13; ++epoch) {
    changed +=
        Pixels(maker.Make(std::vector<uint64_t>{13}, epoch).images, 0) != Pixels(alone.images, 0);
  }
  EXPECT_GE(changed, 5) << "another epoch, another crop";
}

TEST(DrawChange, EveryCropAndFlipIsEquallyLikely) {
  const AugmentOptions options{.crop_padding = 1, .horizontal_flip = true};
  std::map<std::tuple<int64_t, int64_t, bool>, int> counts;
  constexpr int kDraws = 18000;
  for (int sample = 0; sample < kDraws; ++sample) {
    const ImageChange change =
        DrawChange(options, AugmentKey(8, 0, static_cast<uint64_t>(sample)), 32, 32);
    ++counts[{change.dy, change.dx, change.flip}];
  }
  ASSERT_EQ(counts.size(), 18u);
  // 1000 expected, standard deviation 31; 5 of them.
  for (const auto& [change, count] : counts) EXPECT_NEAR(count, kDraws / 18, 155);
}

TEST(DrawChange, ASquareLiesAroundEachPixelEquallyOftenAndEndsWithTheImage) {
  constexpr int64_t kSide = 4, kHeight = 6, kWidth = 5;
  // The pixel from the rectangle: its beginning where the square is whole, else what is left of it.
  const auto middle = [](int64_t begin, int64_t end) {
    return begin > 0 ? begin + kSide / 2 : end - kSide / 2;
  };
  std::map<std::pair<int64_t, int64_t>, int> counts;
  constexpr int kDraws = 30000;
  for (int sample = 0; sample < kDraws; ++sample) {
    const ImageChange::Rectangle cut =
        DrawChange({.cutout = kSide}, AugmentKey(8, 0, static_cast<uint64_t>(sample)), kHeight,
                   kWidth)
            .cut;
    const int64_t y = middle(cut.top, cut.bottom), x = middle(cut.left, cut.right);
    ASSERT_EQ(cut.top, std::max<int64_t>(0, y - kSide / 2));
    ASSERT_EQ(cut.bottom, std::min(kHeight, y + kSide / 2));
    ASSERT_EQ(cut.left, std::max<int64_t>(0, x - kSide / 2));
    ASSERT_EQ(cut.right, std::min(kWidth, x + kSide / 2));
    ++counts[{y, x}];
  }
  ASSERT_EQ(counts.size(), static_cast<size_t>(kHeight * kWidth));
  for (const auto& [pixel, count] : counts) EXPECT_NEAR(count, kDraws / 30, 155);
}

TEST(DrawChange, ACutLeavesTheCropAndTheFlipAsTheyAre) {
  for (uint64_t sample = 0; sample < 100; ++sample) {
    const RandomKey key = AugmentKey(8, 0, sample);
    ImageChange with =
        DrawChange({.crop_padding = 4, .horizontal_flip = true, .cutout = 8}, key, 32, 32);
    with.cut = {};
    EXPECT_EQ(with, DrawChange({.crop_padding = 4, .horizontal_flip = true}, key, 32, 32));
  }
}

TEST(DrawChange, NothingHappensWithoutOptions) {
  for (uint64_t sample = 0; sample < 100; ++sample) {
    EXPECT_EQ(DrawChange({}, AugmentKey(8, 0, sample), 32, 32), ImageChange{});
  }
}

TEST(BatchMakerOptions, ComeFromTheRunFile) {
  v1::RunSpec run;
  run.set_seed(17);
  run.mutable_data()->mutable_augment()->set_random_crop_padding(4);
  run.mutable_data()->mutable_augment()->set_horizontal_flip(true);
  run.mutable_data()->mutable_augment()->set_cutout(8);
  const ChannelStatistics statistics{{0.1}, {0.2}};
  const auto training = BatchMaker::Options::ForTraining(run, statistics);
  EXPECT_EQ(training.seed, 17u);
  EXPECT_EQ(training.augment.crop_padding, 4);
  EXPECT_TRUE(training.augment.horizontal_flip);
  EXPECT_EQ(training.augment.cutout, 8);
  EXPECT_EQ(training.standardize.mean, statistics.mean);
  const auto evaluation = BatchMaker::Options::ForEvaluation(run, statistics);
  EXPECT_EQ(evaluation.augment.crop_padding, 0);
  EXPECT_FALSE(evaluation.augment.horizontal_flip);
  EXPECT_EQ(evaluation.augment.cutout, 0);
  EXPECT_EQ(evaluation.standardize.std, statistics.std);
}

}  // namespace
}  // namespace syncbn::data
