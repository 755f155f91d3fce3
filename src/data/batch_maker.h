// Makes any batch from sample ids: what the loader, evaluation, PreciseBN and replay all call.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "backend/images.h"
#include "backend/stream.h"
#include "data/augment.h"
#include "data/batch.h"
#include "data/dataset.h"
#include "tensor/tensor.h"

namespace syncbn::v1 {
class RunSpec;
}

namespace syncbn::data {

// A batch in the making: its memory, which BatchMaker::Fill writes. Moved, never copied.
struct BatchDraft {
  int64_t epoch = 0;
  // Whose device makes the images itself; null: they are made on the host.
  backend::Stream* stream = nullptr;
  Tensor block;  // on the host, all that goes to the device
  Batch batch;   // its parts, on the host

  int64_t size() const { return batch.size(); }
};

// Refers to a Dataset that must outlive it. Immutable: any number of threads may call it.
class BatchMaker {
 public:
  struct Options {
    AugmentOptions augment;
    uint64_t seed = 0;
    // Empty: pixels become value / 255. Else (value / 255 - mean) / std of each channel; a channel
    // with std 0 is only shifted.
    ChannelStatistics standardize;

    // Of a run, with what it standardizes by (LoadedDataset::StandardizationOf).
    static Options ForTraining(const v1::RunSpec& run, ChannelStatistics standardize);
    // The same without augmentation.
    static Options ForEvaluation(const v1::RunSpec& run, ChannelStatistics standardize);
  };

  BatchMaker(const Dataset& dataset, Options options);

  const Dataset& dataset() const { return dataset_; }

  // The samples in the order of `sample_ids`, changed as `epoch` asks, on the host. Throws INTERNAL
  // for an id that does not exist.
  Batch Make(std::span<const uint64_t> sample_ids, int64_t epoch) const;

  // The same in memory from `allocate` (called once; as AllocateAligned), so that it can be reused.
  using Allocator = std::function<std::shared_ptr<void>(size_t bytes)>;
  Batch Make(std::span<const uint64_t> sample_ids, int64_t epoch, const Allocator& allocate) const;

  // The same where the stream's device wants them: on the host made there, else raw, a quarter of
  // the bytes, written to memory from which the stream copies them to its device, in its order and
  // in one piece. The host waits for nothing.
  Batch MakeFor(backend::Stream& stream, std::span<const uint64_t> sample_ids, int64_t epoch) const;

  // The same in three steps, of which the second may be taken by any number of threads at once,
  // each for other samples [begin, end) of the batch. The last gives the batch to the stream, if it
  // has one.
  BatchDraft Begin(std::span<const uint64_t> sample_ids, int64_t epoch,
                   const Allocator& allocate) const;
  BatchDraft BeginFor(backend::Stream& stream, std::span<const uint64_t> sample_ids, int64_t epoch,
                      const Allocator& allocate) const;
  void Fill(const BatchDraft& draft, int64_t begin, int64_t end) const;
  Batch Finish(BatchDraft draft) const;

  // Bytes that `allocate` is asked for, for a batch of `samples`.
  size_t BatchBytes(int64_t samples) const;

 private:
  Batch Filled(BatchDraft draft) const;
  backend::ImageChange ChangeOf(uint64_t sample, int64_t epoch) const;
  // The bytes of which the change makes the image: the data set's own, or made in `made`.
  std::span<const uint8_t> PixelsOf(uint64_t sample, int64_t epoch,
                                    std::vector<uint8_t>& made) const;
  // The parts of a raw batch of `samples`, one behind the other in `block`, U8; and how long that
  // is.
  Batch RawIn(const Tensor& block, int64_t samples) const;
  int64_t RawBytes(int64_t samples) const;

  const Dataset& dataset_;
  const Options options_;
  const backend::ImageWriter writer_;
};

}  // namespace syncbn::data
