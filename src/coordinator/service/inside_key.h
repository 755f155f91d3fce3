// What only this process knows, drawn when it is first asked for: by it a call that was made inside the
// process (coordinator/web), and says itself where its caller is, is told from those that only claim it.
#pragma once

#include <string>

namespace syncbn::coordinator {

// The header that shows the key, and the one that is then believed: a peer as gRPC writes it.
constexpr const char* kInsideKeyHeader = "syncbn-inside";
constexpr const char* kInsidePeerHeader = "syncbn-peer";

const std::string& InsideKey();

}  // namespace syncbn::coordinator
