// bfloat16: the upper half of a float32, that is its sign, its 8 bits of exponent and 7 of its
// mantissa. Only to be stored: what computes takes it as float32, and rounds once.
#pragma once

#include <bit>
#include <cstdint>

namespace syncbn {

struct BFloat16 {
  uint16_t bits;

  BFloat16() = default;
  // To the nearest, of two equally near ones to the even; NaN stays NaN.
  explicit constexpr BFloat16(float value) : bits(Round(std::bit_cast<uint32_t>(value))) {}
  static constexpr BFloat16 FromBits(uint16_t bits) {
    BFloat16 result{};
    result.bits = bits;
    return result;
  }
  explicit constexpr operator float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }

 private:
  static constexpr uint16_t Round(uint32_t value) {
    constexpr uint32_t kInfinity = 0x7f800000, kQuiet = 0x40;
    if ((value & 0x7fffffff) > kInfinity) {
      return static_cast<uint16_t>(value >> 16 | kQuiet);  // what is cut off may be all of its NaN
    }
    return static_cast<uint16_t>((value + 0x7fff + (value >> 16 & 1)) >> 16);
  }
};
static_assert(sizeof(BFloat16) == 2);

}  // namespace syncbn
