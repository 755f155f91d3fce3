// How many files a process may have open. gRPC ends the program, without a word of use, where it
// cannot open what it needs; so whoever is about to use it asks here first.
#pragma once

#include <cstdint>
#include <string>

namespace syncbn {

// Raises the limit as far as this process may itself, to `most` at most.
void RaiseFileLimit(uint64_t most);

// The same to `least`; throws FAILED_PRECONDITION, with what to do, where it may not. `who` is "the
// coordinator".
void RequireFiles(uint64_t least, const std::string& who);

}  // namespace syncbn
