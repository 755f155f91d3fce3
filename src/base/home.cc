#include "base/home.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>

namespace syncbn {

std::string ExpandHome(std::string_view path) {
  if (path != "~" && !path.starts_with("~/")) return std::string(path);
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0') {
    const passwd* user = ::getpwuid(::geteuid());
    home = user == nullptr ? nullptr : user->pw_dir;
  }
  if (home == nullptr) return std::string(path);
  return std::string(home) + std::string(path.substr(1));
}

}  // namespace syncbn
