// Whose job or study it is: its own submitter, an admin, and whoever the server says shares with
// the submitter may change it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/service/caller.h"

namespace syncbn::coordinator {

struct OwnershipPolicy {
  // Names of submitters who share their jobs; "*" in a team stands for all.
  std::vector<std::vector<std::string>> teams;
};

// PERMISSION_DENIED (ROLE_TOO_LOW) unless `caller` may do this ("cancel it") to
// `resource` ("jobs/17").
void CheckMayChange(const Caller& caller, const std::string& resource, const std::string& submitter,
                    const std::string& action, std::string_view method,
                    const OwnershipPolicy& policy);

// Whose jobs and studies `caller` may change beside its own; "*" alone stands for everybody's.
std::vector<std::string> TeammatesOf(const Caller& caller, const OwnershipPolicy& policy);

}  // namespace syncbn::coordinator
