// The home folder of whom this process runs as.
#pragma once

#include <string>
#include <string_view>

namespace syncbn {

// A path as a shell reads it: "~" and "~/x" with the home folder. Other texts are returned as they are.
std::string ExpandHome(std::string_view path);

}  // namespace syncbn
