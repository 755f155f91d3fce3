// Counter-based random numbers: a value is a pure function of a key and a counter, so it depends on
// what is drawn and never on who draws it or on what was drawn before.
//
// Generator: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// Keys are made by folding integers and names into a parent key:
//
//   RandomKey key = RandomKey(seed).Fold("dropout").Fold(epoch).Fold(sample).Fold("fc").Fold(call);
//   RandomStream stream(key);
//   float u = stream.Uniform();
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace syncbn {

// One Philox4x32-10 block: 4 random words of (key, counter).
std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 2> key, std::array<uint32_t, 4> counter);

// A 64-bit key. Folding is not commutative: Fold(1).Fold(2) and Fold(2).Fold(1) differ.
class RandomKey {
 public:
  explicit constexpr RandomKey(uint64_t value) : value_(value) {}

  RandomKey Fold(uint64_t data) const;
  RandomKey Fold(std::string_view name) const;
  uint64_t value() const { return value_; }

 private:
  uint64_t value_;
};

// The numbers of one key, in order. Satisfies UniformRandomBitGenerator, but library distributions
// are not portable between standard libraries: use the members.
class RandomStream {
 public:
  using result_type = uint32_t;

  explicit RandomStream(RandomKey key);

  static constexpr uint32_t min() { return 0; }
  static constexpr uint32_t max() { return 0xffffffffu; }
  uint32_t operator()();

  // Uniform in [0, 1), 24 bits.
  float Uniform();
  // Uniform in [0, 1), 53 bits.
  double UniformDouble();
  // Uniform in [0, bound), without bias. Precondition: bound > 0.
  uint64_t Below(uint64_t bound);
  // Standard normal (Box and Muller, both values used).
  double Normal();

 private:
  std::array<uint32_t, 2> key_;
  uint64_t block_ = 0;
  std::array<uint32_t, 4> words_{};
  int next_ = 4;
  bool has_spare_ = false;
  double spare_ = 0;
};

}  // namespace syncbn
