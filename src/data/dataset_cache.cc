#include "data/dataset_cache.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::data {
namespace {

// Settings of how samples are used are taken out, not those of which they are put in: a new one of
// these then loads a data set once too often, and never takes one for another.
std::string KeyOf(v1::DataSpec spec, uint64_t seed) {
  spec.clear_augment();
  spec.clear_standardize();
  spec.clear_mean();
  spec.clear_std();
  spec.clear_shuffle();
  spec.clear_last_batch();
  spec.clear_prefetch();
  if (!spec.path().empty()) {
    // One folder is one data set, by whatever text it is named, and one text may name several: a
    // relative one after a change of the working directory. What cannot be looked up cannot be
    // loaded either: its own text will do.
    std::error_code failed;
    const std::filesystem::path place = std::filesystem::weakly_canonical(spec.path(), failed);
    if (!failed) spec.set_path(place.string());
  }
  const bool generated = spec.dataset() == v1::DATASET_SHAPES;
  return spec.SerializeAsString() + (generated ? ", seed " + std::to_string(seed) : "");
}

}  // namespace

LoadedDataset::LoadedDataset(DatasetPair splits)
    : splits_(std::move(splits)),
      statistics_(splits_.train->in_memory() ? splits_.train->ComputeStatistics()
                                             : ChannelStatistics()) {}

ChannelStatistics LoadedDataset::StandardizationOf(const v1::DataSpec& spec) const {
  if (!spec.standardize()) return {};
  if (spec.mean().empty()) return statistics();
  ChannelStatistics given{.mean = {spec.mean().begin(), spec.mean().end()},
                          .std = {spec.std().begin(), spec.std().end()}};
  const auto channels = static_cast<size_t>(train().image_shape().channels);
  for (const auto& [key, values] : {std::pair("mean", &given.mean), std::pair("std", &given.std)}) {
    if (values->size() == 1) values->resize(channels, values->front());
    if (values->size() == channels) continue;
    throw Error(ErrorCode::kInvalidArgument,
                "data." + std::string(key) + " has " + std::to_string(values->size()) +
                    " numbers, but the images of " + train().name() + " are " +
                    train().image_shape().ToString() + ": give one for each channel");
  }
  return given;
}

const LoadedDataset::Digests& LoadedDataset::digests() const {
  std::call_once(digested_, [this] {
    digests_ = {.train = train().ComputeDigest(), .test = test().ComputeDigest()};
  });
  return digests_;
}

DatasetCache::DatasetCache(Load load) : load_(std::move(load)) {}

std::shared_ptr<const LoadedDataset> DatasetCache::Get(const v1::DataSpec& spec, uint64_t seed) {
  const std::shared_ptr<Entry> entry = [&] {
    std::lock_guard lock(mutex_);
    std::shared_ptr<Entry>& found = entries_[KeyOf(spec, seed)];
    if (!found) found = std::make_shared<Entry>();
    return found;
  }();
  std::lock_guard lock(entry->mutex);
  if (!entry->loaded) entry->loaded = std::make_shared<const LoadedDataset>(load_(spec, seed));
  return entry->loaded;
}

}  // namespace syncbn::data
