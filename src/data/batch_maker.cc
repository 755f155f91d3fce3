#include "data/batch_maker.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::data {
namespace {

// The labels follow the images in one piece of memory, at a cache line of their own.
size_t LabelOffset(size_t image_bytes) {
  return (image_bytes + 63) / 64 * 64;
}

// The standardized value of each byte in each channel, rounded once from double.
std::vector<float> ValueTable(int64_t channels, const ChannelStatistics& statistics) {
  std::vector<float> table;
  for (int64_t c = 0; c < channels; ++c) {
    double mean = 0, std = 1;
    if (!statistics.mean.empty()) {
      mean = statistics.mean[static_cast<size_t>(c)];
      std = statistics.std[static_cast<size_t>(c)];
    }
    if (std == 0) std = 1;
    for (int value = 0; value < 256; ++value) {
      table.push_back(static_cast<float>((value / 255.0 - mean) / std));
    }
  }
  return table;
}

}  // namespace

BatchMaker::Options BatchMaker::Options::ForTraining(const v1::RunSpec& run,
                                                     const ChannelStatistics& statistics) {
  Options options = ForEvaluation(run, statistics);
  options.augment = AugmentOptions::From(run.data().augment());
  return options;
}

BatchMaker::Options BatchMaker::Options::ForEvaluation(const v1::RunSpec& run,
                                                       const ChannelStatistics& statistics) {
  return {.augment = {},
          .seed = run.seed(),
          .standardize = run.data().standardize() ? statistics : ChannelStatistics{}};
}

BatchMaker::BatchMaker(const Dataset& dataset, Options options)
    : dataset_(dataset),
      options_(std::move(options)),
      value_of_byte_(ValueTable(dataset.image_shape().channels, options_.standardize)) {
  const size_t channels = static_cast<size_t>(dataset.image_shape().channels);
  const ChannelStatistics& statistics = options_.standardize;
  SYNCBN_CHECK(statistics.mean.size() == statistics.std.size() &&
               (statistics.mean.empty() || statistics.mean.size() == channels))
      << "statistics of " << statistics.mean.size() << " channels for images of " << channels;
}

size_t BatchMaker::BatchBytes(int64_t samples) const {
  const auto n = static_cast<size_t>(samples);
  const auto elements = static_cast<size_t>(dataset_.image_shape().elements());
  return LabelOffset(n * elements * sizeof(float)) + n * sizeof(int32_t);
}

Batch BatchMaker::Make(std::span<const uint64_t> sample_ids, int64_t epoch) const {
  return Make(sample_ids, epoch, AllocateAligned);
}

Batch BatchMaker::Make(std::span<const uint64_t> sample_ids, int64_t epoch,
                       const Allocator& allocate) const {
  const ImageShape& image = dataset_.image_shape();
  const auto n = static_cast<int64_t>(sample_ids.size());
  const std::shared_ptr<void> memory = allocate(BatchBytes(n));
  Batch batch;
  batch.images = Tensor({n, image.height, image.width, image.channels}, DType::kFloat32, memory);
  batch.labels = Tensor({n}, DType::kInt32, memory, LabelOffset(batch.images.bytes()));
  batch.sample_ids.assign(sample_ids.begin(), sample_ids.end());
  float* out = batch.images.Data<float>();
  int32_t* label = batch.labels.Data<int32_t>();
  for (uint64_t sample : sample_ids) {
    *label++ = dataset_.Label(static_cast<int64_t>(sample));
    WriteImage(sample, epoch, out);
    out += image.elements();
  }
  return batch;
}

void BatchMaker::WriteImage(uint64_t sample, int64_t epoch, float* out) const {
  const ImageShape& image = dataset_.image_shape();
  const ImageChange change = DrawChange(options_.augment, options_.seed, epoch, sample);
  const uint8_t* pixels = dataset_.Image(static_cast<int64_t>(sample)).data();
  for (int64_t y = 0; y < image.height; ++y) {
    const int64_t from_y = y + change.dy;
    const bool row_inside = from_y >= 0 && from_y < image.height;
    const uint8_t* row = pixels + (row_inside ? from_y * image.width * image.channels : 0);
    for (int64_t x = 0; x < image.width; ++x) {
      const int64_t from_x = (change.flip ? image.width - 1 - x : x) + change.dx;
      const bool inside = row_inside && from_x >= 0 && from_x < image.width;
      // The padding is the byte 0, which is standardized like any other.
      const uint8_t* pixel = row + (inside ? from_x * image.channels : 0);
      for (int64_t c = 0; c < image.channels; ++c) {
        *out++ = value_of_byte_[static_cast<size_t>(c * 256 + (inside ? pixel[c] : 0))];
      }
    }
  }
}

}  // namespace syncbn::data
