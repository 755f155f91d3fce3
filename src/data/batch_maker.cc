#include "data/batch_maker.h"

#include <algorithm>
#include <type_traits>
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
  const size_t given = statistics.mean.size();
  SYNCBN_CHECK(statistics.std.size() == given &&
               (given == 0 || given == static_cast<size_t>(channels)))
      << "statistics of " << given << " channels for images of " << channels;
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

// Writes `count` pixels from left to right, or from right to left when flipped. The number of
// channels is a constant in the common cases, which doubles the speed.
template <typename Channels>
void WritePixels(const float* table, Channels channels, bool flip, const uint8_t* from,
                 int64_t count, float* out) {
  const int64_t step = flip ? -int64_t{channels} : int64_t{channels};
  for (int64_t i = 0; i < count; ++i, out += step) {
    for (int64_t c = 0; c < channels; ++c) out[c] = table[c * 256 + *from++];
  }
}

void WritePixels(const float* table, int64_t channels, bool flip, const uint8_t* from,
                 int64_t count, float* out) {
  switch (channels) {
    case 1:
      return WritePixels(table, std::integral_constant<int64_t, 1>(), flip, from, count, out);
    case 3:
      return WritePixels(table, std::integral_constant<int64_t, 3>(), flip, from, count, out);
    default:
      return WritePixels<int64_t>(table, channels, flip, from, count, out);
  }
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
  const auto channels = static_cast<size_t>(dataset.image_shape().channels);
  // The padding is the byte 0, which is standardized like any other.
  for (int64_t x = 0; x < dataset.image_shape().width; ++x) {
    for (size_t c = 0; c < channels; ++c) black_row_.push_back(value_of_byte_[c * 256]);
  }
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
  const int64_t row_elements = image.width * image.channels;
  // Columns of the crop, counted before the flip, that lie inside the image.
  const int64_t first = std::clamp<int64_t>(-change.dx, 0, image.width);
  const int64_t last = std::clamp<int64_t>(image.width - change.dx, first, image.width);
  const bool whole_row = first == 0 && last == image.width;
  for (int64_t y = 0; y < image.height; ++y, out += row_elements) {
    const int64_t from_y = y + change.dy;
    const bool inside = from_y >= 0 && from_y < image.height && first < last;
    if (!inside || !whole_row) std::copy(black_row_.begin(), black_row_.end(), out);
    if (!inside) continue;
    const uint8_t* from = pixels + from_y * row_elements + (first + change.dx) * image.channels;
    const int64_t to = change.flip ? image.width - 1 - first : first;
    WritePixels(value_of_byte_.data(), image.channels, change.flip, from, last - first,
                out + to * image.channels);
  }
}

}  // namespace syncbn::data
