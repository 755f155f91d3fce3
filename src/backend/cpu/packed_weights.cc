#include "backend/cpu/packed_weights.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <span>

#include "base/check.h"

namespace syncbn::backend::cpu {

namespace {

// Of up to 16 words, evenly spread.
uint64_t SampleOf(const Tensor& weights) {
  const std::span<const std::byte> bytes = weights.Bytes();
  const size_t words = bytes.size() / sizeof(uint32_t);
  const size_t stride = std::max<size_t>(1, words / 16);
  uint64_t sample = words;
  for (size_t i = 0; i < words; i += stride) {
    uint32_t word;
    std::memcpy(&word, bytes.data() + i * sizeof word, sizeof word);
    sample = (sample ^ word) * 0x9e3779b97f4a7c15u;
    sample ^= sample >> 32;
  }
  return sample;
}

}  // namespace

std::shared_ptr<PackedWeights::Packing> PackedWeights::Find(const Tensor& weights, WeightsVersion version,
                                                            const dnnl::memory::desc& layout,
                                                            const dnnl::engine& engine,
                                                            bool* fill) {
  using State = Packing::State;
  const void* address = weights.Bytes().data();
  std::unique_lock lock(mutex_);
  while (true) {
    auto& packings = packings_[address];
    std::shared_ptr<Packing> current, unused;
    for (const auto& packing : packings) {
      if (packing->layout != layout) continue;
      if (packing->Holds(version) && packing->state != State::kFailed) {
        current = packing;
      } else if (packing.use_count() == 1) {
        unused = packing;  // nobody reads it: its memory may take this version
      }
    }
    if (current != nullptr) {
      if (current->state == State::kReady) {
        SYNCBN_CHECK_EQ(current->sample, SampleOf(weights))
            << "weights of " << weights.shape()
            << " were written to without a new version of the parameters: packed copies are stale";
        return current;
      }
      filled_.wait(lock);
      continue;  // the map may have changed
    }
    if (unused == nullptr) {
      DropExpired();
      unused = std::make_shared<Packing>();
      unused->layout = layout;
      unused->memory = dnnl::memory(layout, engine);
      packings_[address].push_back(unused);
    }
    // What its last holder read comes before what is written now.
    std::atomic_thread_fence(std::memory_order_acquire);
    unused->source = weights.weak_memory();
    unused->version = version;
    unused->sample = SampleOf(weights);
    unused->state = State::kFilling;
    *fill = true;
    return unused;
  }
}

void PackedWeights::Filled(Packing& packing, Packing::State state) {
  const std::lock_guard lock(mutex_);
  packing.state = state;
  filled_.notify_all();
}

void PackedWeights::DropExpired() {
  for (auto it = packings_.begin(); it != packings_.end();) {
    std::erase_if(it->second, [](const auto& packing) { return packing->source.expired(); });
    it = it->second.empty() ? packings_.erase(it) : std::next(it);
  }
}

size_t PackedWeights::bytes() const {
  const std::lock_guard lock(mutex_);
  size_t sum = 0;
  for (const auto& [address, packings] : packings_) {
    for (const auto& packing : packings) sum += packing->layout.get_size();
  }
  return sum;
}

}  // namespace syncbn::backend::cpu
