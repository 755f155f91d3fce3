// Names under which a coordinator knows a request that it has already carried out.
#pragma once

#include <string>

namespace syncbn::client {

// A random UUID (version 4), e.g. "3f0c1c1e-7a52-4f0f-9f57-0d2c6a3b9c11". Thread-safe.
std::string NewRequestId();

}  // namespace syncbn::client
