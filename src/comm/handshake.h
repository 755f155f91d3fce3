// Before the first step all processes of a run compare what their results depend on, and refuse a mix.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"

namespace syncbn::comm {

struct Fact {
  std::string name;   // "oneDNN version"
  std::string value;  // "2.6.3"
};

// Collective. Throws FAILED_PRECONDITION on every rank, with the same text, when the values of a fact
// differ or a process does not give it: names the fact, the values and who has which. Returns the hosts by
// rank.
std::vector<std::string> Handshake(Communicator& communicator, std::string_view host,
                                   std::span<const Fact> facts);

}  // namespace syncbn::comm
