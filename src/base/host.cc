#include "base/host.h"

#include <unistd.h>

namespace syncbn {

std::string HostName() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

}  // namespace syncbn
