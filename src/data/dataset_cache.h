// The data sets of a process: each is read, checked and digested once, however many runs use it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "data/dataset.h"

namespace syncbn::data {

// Both splits, and what runs ask of them. Immutable: any number of threads may read it.
class LoadedDataset {
 public:
  explicit LoadedDataset(DatasetPair splits);

  const Dataset& train() const { return *splits_.train; }
  const Dataset& test() const { return *splits_.test; }
  // Of the training split; empty where its images are not in memory.
  const ChannelStatistics& statistics() const { return statistics_; }

  // What a run whose data are `spec` standardizes images by: its `mean` and `std`, else the
  // statistics; empty if it does not.
  ChannelStatistics StandardizationOf(const v1::DataSpec& spec) const;

  struct Digests {
    Digest train, test;
  };
  // Dataset::ComputeDigest of both splits; computed by the first who asks.
  const Digests& digests() const;

 private:
  const DatasetPair splits_;
  const ChannelStatistics statistics_;
  mutable std::once_flag digested_;
  mutable Digests digests_;
};

// Thread-safe. Keeps what it has loaded as long as it lives; who got a data set keeps it longer.
// Files that are replaced meanwhile are not read again.
class DatasetCache {
 public:
  using Load = std::function<DatasetPair(const v1::DataSpec& spec, uint64_t seed)>;
  explicit DatasetCache(Load load = MakeDataset);

  // What `load` gives for the spec and the seed. Of several threads that want the same data set one
  // loads it and the others wait; other data sets are loaded meanwhile. Throws what `load` throws;
  // the next who asks tries again.
  std::shared_ptr<const LoadedDataset> Get(const v1::DataSpec& spec, uint64_t seed);

 private:
  struct Entry {
    std::mutex mutex;
    std::shared_ptr<const LoadedDataset> loaded;
  };

  const Load load_;
  std::mutex mutex_;
  // By all that the samples depend on.
  std::map<std::string, std::shared_ptr<Entry>> entries_;
};

}  // namespace syncbn::data
