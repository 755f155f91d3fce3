#include "client/request_id.h"

#include <array>
#include <cstdio>
#include <random>

namespace syncbn::client {

std::string NewRequestId() {
  std::random_device source;
  std::array<unsigned, 4> words{};
  for (unsigned& word : words) word = source();
  // RFC 4122: version 4 in the third group, variant 10 in the fourth.
  words[1] = (words[1] & 0xffff0fffU) | 0x4000U;
  words[2] = (words[2] & 0x3fffffffU) | 0x80000000U;
  std::array<char, 37> text{};
  std::snprintf(text.data(), text.size(), "%08x-%04x-%04x-%04x-%04x%08x", words[0], words[1] >> 16,
                words[1] & 0xffffU, words[2] >> 16, words[2] & 0xffffU, words[3]);
  return text.data();
}

}  // namespace syncbn::client
