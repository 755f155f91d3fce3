#include "coordinator/service/ownership.h"

#include <algorithm>
#include <set>

#include "coordinator/api_error.h"

namespace syncbn::coordinator {
namespace {

bool Share(const std::string& one, const std::string& other, const OwnershipPolicy& policy) {
  return std::any_of(policy.teams.begin(), policy.teams.end(), [&](const auto& team) {
    const auto has = [&](const std::string& name) {
      return std::find(team.begin(), team.end(), name) != team.end();
    };
    return has("*") || (has(one) && has(other));
  });
}

}  // namespace

void CheckMayChange(const Caller& caller, const std::string& resource, const std::string& submitter,
                    const std::string& action, std::string_view method,
                    const OwnershipPolicy& policy) {
  if (caller.role >= Role::kAdmin || caller.name == submitter ||
      Share(caller.name, submitter, policy)) {
    return;
  }
  throw ApiError(ErrorCode::kPermissionDenied, "ROLE_TOO_LOW",
                 resource + " was submitted by " + submitter + ": only " + submitter +
                     ", whoever shares a team with " + submitter + ", or an admin may " + action,
                 {{"method", std::string(method)},
                  {"role", std::string(RoleName(caller.role))},
                  {"submitter", submitter}});
}

std::vector<std::string> TeammatesOf(const Caller& caller, const OwnershipPolicy& policy) {
  if (caller.role >= Role::kAdmin) return {"*"};
  std::set<std::string> names;
  for (const std::vector<std::string>& team : policy.teams) {
    for (const std::string& name : team) {
      if (Share(caller.name, name, {.teams = {team}})) names.insert(name);
    }
  }
  if (names.contains("*")) return {"*"};
  names.erase(caller.name);
  return {names.begin(), names.end()};
}

}  // namespace syncbn::coordinator
