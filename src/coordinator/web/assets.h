// The files of the dashboard, as CMake embeds them (pages/, and dygraphs of Debian's
// libjs-dygraphs, which is under the MIT licence).
#pragma once

#include <span>
#include <string_view>

namespace syncbn::coordinator {

struct Asset {
  std::string_view name;  // "jobs.js"
  std::string_view type;  // "text/javascript; charset=utf-8"
  std::string_view text;
};

std::span<const Asset> Assets();

}  // namespace syncbn::coordinator
