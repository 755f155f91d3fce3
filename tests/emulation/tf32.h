// TF32, as the emulated device's libraries have it.
#pragma once

#include <bit>
#include <cstdint>

namespace syncbn::emulation {

// To 10 bits of mantissa, to the nearest, of two equally near ones to the even; infinite and NaN
// stay as they are.
constexpr float RoundToTf32(float value) {
  constexpr uint32_t kInfinity = 0x7f800000, kCut = 13;
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & kInfinity) == kInfinity) return value;
  const uint32_t half_less = (1U << (kCut - 1)) - 1 + (bits >> kCut & 1);
  return std::bit_cast<float>((bits + half_less) >> kCut << kCut);
}

}  // namespace syncbn::emulation
