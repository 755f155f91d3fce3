// Data and expected results for the tests of reductions.
#pragma once

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "comm/merge.h"
#include "comm/reducer.h"

namespace syncbn::comm::testing {

// Numbers of very different sizes, among them NaN of either sign, infinities, denormals and zeros.
inline std::vector<float> NastyFloats(int count, std::mt19937& random) {
  std::vector<float> values;
  for (int i = 0; i < count; ++i) {
    switch (random() % 12) {
      case 0: values.push_back(std::numeric_limits<float>::quiet_NaN()); break;
      case 1: values.push_back(-std::numeric_limits<float>::quiet_NaN()); break;
      case 2: values.push_back(std::numeric_limits<float>::infinity()); break;
      case 3: values.push_back(-std::numeric_limits<float>::infinity()); break;
      case 4: values.push_back(std::numeric_limits<float>::denorm_min() * (random() % 100)); break;
      case 5: values.push_back(-0.0f); break;
      default: {
        const float sign = random() % 2 ? 1.0f : -1.0f;
        const float mantissa = 1.0f + static_cast<float>(random() % 8388608) / 8388608.0f;
        values.push_back(std::ldexp(sign * mantissa, static_cast<int>(random() % 60) - 30));
      }
    }
  }
  return values;
}

// The bytes of replica r's contribution.
using Contributions = std::vector<std::vector<std::byte>>;

template <typename T>
std::vector<std::byte> BytesOf(const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

inline Contributions SumContributions(int replicas, int elements, unsigned seed) {
  std::mt19937 random(seed);
  Contributions result;
  for (int r = 0; r < replicas; ++r) result.push_back(BytesOf(NastyFloats(elements, random)));
  return result;
}

// Some replicas have no samples, some numbers are not finite.
inline Contributions MomentContributions(int replicas, std::span<const int64_t> channels,
                                         unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  Contributions result;
  for (int r = 0; r < replicas; ++r) {
    std::vector<double> values;
    for (int64_t c : channels) {
      const int count = random() % 4 == 0 ? 0 : static_cast<int>(random() % 50);
      values.push_back(count);
      for (int64_t i = 1; i < backend::MomentsElements(c); ++i) {
        const double value = std::abs(normal(random)) + (i <= std::abs(c) ? 1000 : 0);
        const unsigned kind = random() % 40;
        values.push_back(count == 0  ? 0
                         : kind == 0 ? std::numeric_limits<double>::quiet_NaN()
                         : kind == 1 ? std::numeric_limits<double>::infinity()
                                     : value);
      }
    }
    result.push_back(BytesOf(values));
  }
  return result;
}

// The reduction of replicas [lo, hi) by the definition of the canonical tree.
inline std::vector<std::byte> Expected(const Content& content, const Contributions& values, int lo,
                                       int hi) {
  if (hi - lo == 1) return values[static_cast<size_t>(lo)];
  int power = 1;
  while (power * 2 < hi - lo) power *= 2;
  std::vector<std::byte> left = Expected(content, values, lo, lo + power);
  const std::vector<std::byte> right = Expected(content, values, lo + power, hi);
  MergeRange(content, {0, content.elements}, left.data(), right.data());
  return left;
}

inline Tensor TensorOf(const Content& content, const std::vector<std::byte>& bytes) {
  Tensor tensor({content.elements}, content.dtype);
  if (!bytes.empty()) std::memcpy(tensor.Bytes().data(), bytes.data(), bytes.size());
  return tensor;
}

inline std::vector<std::byte> BytesOf(const Tensor& tensor) {
  return {tensor.Bytes().begin(), tensor.Bytes().end()};
}

}  // namespace syncbn::comm::testing
