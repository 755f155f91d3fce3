// Runs the program as a user does, against a fake coordinator.
#pragma once

#include <string>
#include <vector>

#include "tests/client/fake_coordinator.h"
#include "tests/support/process.h"

namespace syncbn {

inline ProcessOptions CommandFor(const std::string& address, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), SyncbnProgram());
  return {.argv = arguments,
          .environment = {{"SYNCBN_SERVER", address}, {"TZ", "UTC"}, {"SYNCBN_USER_TOKEN", ""}}};
}

inline ProcessResult RunCommand(const FakeCoordinator& fake, std::vector<std::string> arguments) {
  return RunProcess(CommandFor(fake.address(), std::move(arguments)));
}

}  // namespace syncbn
