// Unpacking of gzip (RFC 1952) in memory, with every kind of damage told apart.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace syncbn::data {

// Whether the bytes begin as a gzip file does.
bool LooksLikeGzip(std::span<const uint8_t> bytes);

// The content. Several members one after another are joined, as gunzip does. Throws DATA_LOSS whose
// message says what is wrong (truncated, wrong checksum, trailing bytes), without a path: the
// caller knows it.
std::vector<uint8_t> Gunzip(std::span<const uint8_t> bytes);

}  // namespace syncbn::data
