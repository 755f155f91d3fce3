// The machine this process runs on.
#pragma once

#include <string>

namespace syncbn {

// As `hostname` prints it; "unknown" where the system does not tell.
std::string HostName();

}  // namespace syncbn
