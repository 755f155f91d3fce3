#include "base/rng.h"

#include <cmath>
#include <numbers>

#include "base/check.h"
#include "base/philox.h"

namespace syncbn {
namespace {

// The finalizer of MurmurHash3 in the form of Stafford's mix 13: a bijection with full avalanche.
uint64_t Mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ull;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

}  // namespace

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 2> key, std::array<uint32_t, 4> counter) {
  const PhiloxBlock block =
      Philox(key[0], key[1], {{counter[0], counter[1], counter[2], counter[3]}});
  return {block.words[0], block.words[1], block.words[2], block.words[3]};
}

RandomKey RandomKey::Fold(uint64_t data) const {
  return RandomKey(Mix(Mix(value_ + 0x9e3779b97f4a7c15ull) ^ (data + 0x632be59bd9b4e019ull)));
}

RandomKey RandomKey::Fold(std::string_view name) const {
  uint64_t hash = 0xcbf29ce484222325ull;  // FNV-1a
  for (unsigned char c : name) hash = (hash ^ c) * 0x100000001b3ull;
  // A name and an integer with the same hash must give different keys.
  return RandomKey(Mix(Mix(value_ + 0xd1b54a32d192ed03ull) ^ hash));
}

RandomStream::RandomStream(RandomKey key)
    : key_{static_cast<uint32_t>(key.value()), static_cast<uint32_t>(key.value() >> 32)} {}

uint32_t RandomStream::operator()() {
  if (next_ == 4) {
    words_ = Philox4x32(
        key_, {static_cast<uint32_t>(block_), static_cast<uint32_t>(block_ >> 32), 0, 0});
    ++block_;
    next_ = 0;
  }
  return words_[next_++];
}

float RandomStream::Uniform() { return static_cast<float>((*this)() >> 8) * 0x1p-24f; }

double RandomStream::UniformDouble() {
  const uint64_t high = (*this)() >> 5, low = (*this)() >> 6;
  return static_cast<double>((high << 26) | low) * 0x1p-53;
}

uint64_t RandomStream::Below(uint64_t bound) {
  SYNCBN_CHECK_GT(bound, 0u);
  // Draws under the threshold would make the first values of [0, bound) more frequent.
  const uint64_t threshold = (0 - bound) % bound;
  while (true) {
    const uint64_t high = (*this)(), low = (*this)();
    const uint64_t draw = (high << 32) | low;
    if (draw >= threshold) return draw % bound;
  }
}

double RandomStream::Normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const double radius = std::sqrt(-2.0 * std::log(1.0 - UniformDouble()));
  const double angle = 2.0 * std::numbers::pi * UniformDouble();
  spare_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

}  // namespace syncbn
