// Makes any batch from sample ids: what the loader, evaluation, PreciseBN and replay all call.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "data/augment.h"
#include "data/dataset.h"
#include "tensor/tensor.h"

namespace syncbn::v1 {
class RunSpec;
}

namespace syncbn::data {

struct Batch {
  Tensor images;  // float32 [n, H, W, C]; n may be 0
  Tensor labels;  // int32 [n]
  std::vector<uint64_t> sample_ids;

  int64_t size() const { return static_cast<int64_t>(sample_ids.size()); }
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

    // Of a run: `statistics` are those of the training split, and used if the run standardizes.
    static Options ForTraining(const v1::RunSpec& run, const ChannelStatistics& statistics);
    // The same without augmentation.
    static Options ForEvaluation(const v1::RunSpec& run, const ChannelStatistics& statistics);
  };

  BatchMaker(const Dataset& dataset, Options options);

  const Dataset& dataset() const { return dataset_; }

  // The samples in the order of `sample_ids`, changed as `epoch` asks. Throws INTERNAL for an id
  // that does not exist.
  Batch Make(std::span<const uint64_t> sample_ids, int64_t epoch) const;

  // The same in memory from `allocate` (called once; as AllocateAligned), so that it can be reused.
  using Allocator = std::function<std::shared_ptr<void>(size_t bytes)>;
  Batch Make(std::span<const uint64_t> sample_ids, int64_t epoch, const Allocator& allocate) const;

  // Bytes that `allocate` is asked for, for a batch of `samples`.
  size_t BatchBytes(int64_t samples) const;

 private:
  void WriteImage(uint64_t sample, int64_t epoch, float* out) const;

  const Dataset& dataset_;
  Options options_;
  std::vector<float> value_of_byte_;  // [channels][256]
  std::vector<float> black_row_;      // a row of padding
};

}  // namespace syncbn::data
