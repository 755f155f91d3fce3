// Who calls, as found out from a bearer token or from where the call came from.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "coordinator/job/job_record.h"

namespace syncbn::coordinator {

// What a user may do; a later role may do all that an earlier one may. The numbers are those of the
// store and of syncbn.v1.Token.Role.
enum class Role { kViewer = 1, kSubmitter, kAdmin };

inline std::string_view RoleName(Role role) {
  switch (role) {
    case Role::kViewer:
      return "viewer";
    case Role::kSubmitter:
      return "submitter";
    case Role::kAdmin:
      return "admin";
  }
  return "unknown";
}

struct Caller {
  // The actor in histories: a token's name; "local" where no tokens are in use; the attempt's name
  // for its workers.
  std::string name;
  // Where from, as gRPC writes it: "ipv4:127.0.0.1:54321".
  std::string peer;
  // Of a user.
  Role role = Role::kViewer;
  // Set for the workers of this attempt, who may call WorkerService and nothing else.
  std::optional<AttemptId> attempt;
};

}  // namespace syncbn::coordinator
