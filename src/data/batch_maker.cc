#include "data/batch_maker.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::data {
namespace {

// The parts of a batch lie in one piece of memory, each at a cache line of its own.
template <typename Bytes>
Bytes WholeLines(Bytes bytes) {
  return (bytes + 63) / 64 * 64;
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

}  // namespace

BatchMaker::Options BatchMaker::Options::ForTraining(const v1::RunSpec& run,
                                                     ChannelStatistics standardize) {
  Options options = ForEvaluation(run, std::move(standardize));
  options.augment = AugmentOptions::From(run.data().augment());
  return options;
}

BatchMaker::Options BatchMaker::Options::ForEvaluation(const v1::RunSpec& run,
                                                       ChannelStatistics standardize) {
  return {.augment = {}, .seed = run.seed(), .standardize = std::move(standardize)};
}

BatchMaker::BatchMaker(const Dataset& dataset, Options options)
    : dataset_(dataset),
      options_(std::move(options)),
      // Outside of an image are bytes 0, which are standardized like any other.
      writer_(dataset.image_shape().height, dataset.image_shape().width,
              dataset.image_shape().channels,
              ValueTable(dataset.image_shape().channels, options_.standardize)) {}

backend::ImageChange BatchMaker::ChangeOf(uint64_t sample, int64_t epoch) const {
  const ImageShape& image = dataset_.image_shape();
  return DrawChange(options_.augment, AugmentKey(options_.seed, epoch, sample), image.height,
                    image.width);
}

std::span<const uint8_t> BatchMaker::PixelsOf(uint64_t sample, int64_t epoch,
                                              std::vector<uint8_t>& made) const {
  const auto index = static_cast<int64_t>(sample);
  const AugmentOptions& augment = options_.augment;
  if (dataset_.in_memory() && !augment.ChangesPixels()) return dataset_.Image(index);
  const RandomKey key = AugmentKey(options_.seed, epoch, sample);
  ChooseCrop crop;
  if (augment.resized_crop) {
    crop = [&](int64_t height, int64_t width) {
      return DrawResizedCrop(*augment.resized_crop, key, height, width);
    };
  }
  const ImageShape& shape = dataset_.image_shape();
  made.resize(static_cast<size_t>(shape.elements()));
  dataset_.Write(index, crop, made);
  for (const ColorChange& change : DrawColorChanges(augment.color_jitter, key)) {
    ChangeColor(change, shape.channels, made);
  }
  return made;
}

size_t BatchMaker::BatchBytes(int64_t samples) const {
  const auto n = static_cast<size_t>(samples);
  const auto elements = static_cast<size_t>(dataset_.image_shape().elements());
  return WholeLines(n * elements * sizeof(float)) + n * sizeof(int32_t);
}

Batch BatchMaker::Make(std::span<const uint64_t> sample_ids, int64_t epoch) const {
  return Make(sample_ids, epoch, AllocateAligned);
}

Batch BatchMaker::Make(std::span<const uint64_t> sample_ids, int64_t epoch,
                       const Allocator& allocate) const {
  return Filled(Begin(sample_ids, epoch, allocate));
}

Batch BatchMaker::MakeFor(backend::Stream& stream, std::span<const uint64_t> sample_ids,
                          int64_t epoch) const {
  return Filled(BeginFor(stream, sample_ids, epoch, AllocateAligned));
}

Batch BatchMaker::Filled(BatchDraft draft) const {
  Fill(draft, 0, draft.size());
  return Finish(std::move(draft));
}

BatchDraft BatchMaker::Begin(std::span<const uint64_t> sample_ids, int64_t epoch,
                             const Allocator& allocate) const {
  const ImageShape& image = dataset_.image_shape();
  const auto n = static_cast<int64_t>(sample_ids.size());
  const std::shared_ptr<void> memory = allocate(BatchBytes(n));
  BatchDraft draft{.epoch = epoch};
  Batch& batch = draft.batch;
  batch.images = Tensor({n, image.height, image.width, image.channels}, DType::kFloat32, memory);
  batch.labels = Tensor({n}, DType::kInt32, memory, WholeLines(batch.images.bytes()));
  batch.sample_ids.assign(sample_ids.begin(), sample_ids.end());
  return draft;
}

BatchDraft BatchMaker::BeginFor(backend::Stream& stream, std::span<const uint64_t> sample_ids,
                                int64_t epoch, const Allocator& allocate) const {
  if (&stream.device() == &Device::Host()) return Begin(sample_ids, epoch, allocate);
  const auto n = static_cast<int64_t>(sample_ids.size());
  BatchDraft draft{.epoch = epoch, .stream = &stream};
  draft.block = stream.NewOnHost({RawBytes(n)}, DType::kUint8);
  draft.batch = RawIn(draft.block, n);
  draft.batch.sample_ids.assign(sample_ids.begin(), sample_ids.end());
  std::ranges::copy(writer_.values(), draft.batch.raw.values.Data<float>());
  return draft;
}

void BatchMaker::Fill(const BatchDraft& draft, int64_t begin, int64_t end) const {
  const int64_t elements = dataset_.image_shape().elements();
  Tensor labels = draft.batch.labels, images = draft.batch.images;
  backend::RawImages raw = draft.batch.raw;
  std::vector<uint8_t> made;
  for (int64_t i = begin; i < end; ++i) {
    const uint64_t sample = draft.batch.sample_ids[static_cast<size_t>(i)];
    labels.Data<int32_t>()[i] = dataset_.Label(static_cast<int64_t>(sample));
    const backend::ImageChange change = ChangeOf(sample, draft.epoch);
    const std::span<const uint8_t> pixels = PixelsOf(sample, draft.epoch, made);
    if (draft.stream == nullptr) {
      writer_.Write(change, pixels.data(), images.Data<float>() + i * elements);
      continue;
    }
    std::ranges::copy(pixels, raw.pixels.Data<uint8_t>() + i * elements);
    std::ranges::copy(change.Numbers(),
                      raw.changes.Data<int32_t>() + backend::ImageChange::kNumbers * i);
  }
}

Batch BatchMaker::Finish(BatchDraft draft) const {
  if (draft.stream == nullptr) return std::move(draft.batch);
  Batch batch = RawIn(draft.stream->Upload(draft.block), draft.size());
  batch.sample_ids = std::move(draft.batch.sample_ids);
  batch.ready = draft.stream->Record();
  return batch;
}

Batch BatchMaker::RawIn(const Tensor& block, int64_t samples) const {
  const ImageShape& image = dataset_.image_shape();
  int64_t begin = 0;
  const auto part = [&](Shape shape, DType dtype) {
    const int64_t bytes = shape.elements() * static_cast<int64_t>(SizeOf(dtype));
    const Tensor tensor = block.Slice(begin, {bytes}).Viewed(shape, dtype);
    begin += WholeLines(bytes);
    return tensor;
  };
  Batch batch;
  batch.raw.values = part({image.channels, 256}, DType::kFloat32);
  batch.raw.changes = part({samples, backend::ImageChange::kNumbers}, DType::kInt32);
  batch.labels = part({samples}, DType::kInt32);
  batch.raw.pixels = part({samples, image.height, image.width, image.channels}, DType::kUint8);
  return batch;
}

int64_t BatchMaker::RawBytes(int64_t samples) const {
  const ImageShape& image = dataset_.image_shape();
  return WholeLines(image.channels * 256 * int64_t{sizeof(float)}) +
         WholeLines(samples * backend::ImageChange::kNumbers * int64_t{sizeof(int32_t)}) +
         WholeLines(samples * int64_t{sizeof(int32_t)}) + WholeLines(samples * image.elements());
}

}  // namespace syncbn::data
