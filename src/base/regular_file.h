// Files that somebody else has put where they lie: a pipe in the place of one would make whoever
// opens it wait for ever, a device might do anything, and one of a terabyte does not fit memory.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/descriptor.h"
#include "base/error.h"

namespace syncbn {

// INVALID_ARGUMENT "PATH WHY": "is a pipe, not a file", "has 5 bytes, more than 4".
class UnfitFile : public Error {
 public:
  UnfitFile(const std::filesystem::path& path, const std::string& why);

  const std::string& why() const { return why_; }

 private:
  std::string why_;
};

struct RegularFile {
  Descriptor descriptor;  // to read
  int64_t bytes = 0;
};

// Opens a file that is one, by links too, and does not wait for one that is none. Throws as
// ReadFile does, and UnfitFile.
RegularFile OpenRegularFile(const std::filesystem::path& path);

// The whole content; UnfitFile where that is more than `most` bytes, without reading them.
std::vector<std::byte> ReadRegularFile(const std::filesystem::path& path, int64_t most);
// The same as text.
std::string ReadRegularTextFile(const std::filesystem::path& path, int64_t most);

// What is said of anything that is not a regular file: "is a pipe, not a file"; a socket, a device
// or a folder.
std::string WhyNoFile(mode_t mode);

}  // namespace syncbn
