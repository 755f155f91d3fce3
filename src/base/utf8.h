// Text of others as UTF-8, which is all that messages of protobuf can hold: one that holds anything
// else is written, and cannot be read again.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace syncbn {

// The text in UTF-8: bytes that are none become '?', and what is longer than `most` bytes is cut
// between two characters and ends in " ...", which counts.
std::string Utf8Beginning(std::string_view text, size_t most);

}  // namespace syncbn
