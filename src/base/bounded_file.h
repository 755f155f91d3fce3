// Reading a file of which a person may have given the wrong name.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace syncbn {

// The whole content, as ReadFile (base/file.h) gives it. INVALID_ARGUMENT, calling it `what` ("a run
// file"), when it has more than `most` bytes, or no end, as a device.
std::string ReadFileUpTo(const std::filesystem::path& path, size_t most, std::string_view what);

}  // namespace syncbn
