#include "config/norm_fit.h"

#include <algorithm>

namespace syncbn::config {

int64_t FittingGroups(int64_t channels, int64_t groups) {
  for (int64_t fitting = std::min(channels, groups); fitting > 1; --fitting) {
    if (channels % fitting == 0) return fitting;
  }
  return 1;
}

std::optional<int64_t> SamplesOfGroups(const std::vector<int64_t>& batches, size_t group) {
  std::optional<int64_t> samples;
  for (size_t begin = 0; begin < batches.size(); begin += group) {
    int64_t sum = 0;
    for (size_t i = begin; i < begin + group; ++i) sum += batches[i];
    if (samples && *samples != sum) return std::nullopt;
    samples = sum;
  }
  return samples;
}

}  // namespace syncbn::config
