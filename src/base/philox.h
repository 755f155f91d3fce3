// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), in a form
// that kernels of a GPU can be compiled with, too.
#pragma once

#include <cstdint>

namespace syncbn {

// 4 random words of a key and a counter.
struct PhiloxBlock {
  uint32_t words[4];
};

constexpr PhiloxBlock Philox(uint32_t key0, uint32_t key1, PhiloxBlock counter) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
  constexpr uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = kMultiplier0 * counter.words[0];
    const uint64_t product1 = kMultiplier1 * counter.words[2];
    counter = {{static_cast<uint32_t>(product1 >> 32) ^ counter.words[1] ^ key0,
                static_cast<uint32_t>(product1),
                static_cast<uint32_t>(product0 >> 32) ^ counter.words[3] ^ key1,
                static_cast<uint32_t>(product0)}};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return counter;
}

}  // namespace syncbn
