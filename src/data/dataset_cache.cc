#include "data/dataset_cache.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "syncbn/v1/run.pb.h"

namespace syncbn::data {
namespace {

// Settings of how samples are used are taken out, not those of which they are put in: a new one of
// these then loads a data set once too often, and never takes one for another.
std::string KeyOf(v1::DataSpec spec, uint64_t seed) {
  spec.clear_augment();
  spec.clear_standardize();
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
    : splits_(std::move(splits)), statistics_(splits_.train->ComputeStatistics()) {}

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
