// A quick look at image files: what can be told of damage without decoding.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace syncbn::data {

struct ScannedFile {
  // Of the file's size, first 4 KiB and last 4 KiB.
  uint64_t fingerprint = 0;
  // "is damaged: Premature end of JPEG file"; empty where nothing was found.
  std::string damage;
};

// Reads the beginning and the end of a file of `bytes` bytes. Where these are not those of a whole
// JPEG, PNG or WebP of a kind and a size that are decoded, the file is, and what comes of that is
// believed: a file that is named here cannot be trained on, and one that is cut off or no image is
// named; what is wrong in the middle of a file shows when it is decoded. Throws as reading a file
// does: what cannot be read is not damaged. Thread-safe.
ScannedFile ScanImageFile(const std::filesystem::path& path, int64_t bytes);

}  // namespace syncbn::data
