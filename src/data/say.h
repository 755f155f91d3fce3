// What whoever waits should be told at once, a line each: what takes time, and why. May be empty.
#pragma once

#include <functional>
#include <string>

namespace syncbn::data {

using Say = std::function<void(const std::string& line)>;

}  // namespace syncbn::data
