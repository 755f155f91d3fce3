// What NoiseSpec draws once for each channel.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/specs.h"

namespace syncbn::backend::host {

struct ChannelNoise {
  std::vector<double> mu, sigma;
};

inline ChannelNoise DrawChannels(const NoiseSpec& noise, int64_t channels) {
  ChannelNoise draws;
  RandomStream stream(noise.channels);
  for (int64_t c = 0; c < channels; ++c) {
    draws.mu.push_back(noise.shift * (2 * stream.UniformDouble() - 1));
    draws.sigma.push_back(1 + (noise.scale - 1) * stream.UniformDouble());
  }
  return draws;
}

}  // namespace syncbn::backend::host
