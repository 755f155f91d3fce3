// The hosts file of a coordinator (syncbn/v1/hosts.proto) and what follows from it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "coordinator/launch/mpirun_command.h"
#include "coordinator/schedule/placement.h"

namespace syncbn::app {

struct Cluster {
  std::vector<coordinator::HostCapacity> hosts;
  coordinator::MpirunSettings mpirun;
  // Path of syncbn on the hosts; empty: the coordinator's own.
  std::string program;
};

// INVALID_ARGUMENT with every fault and its place, as `syncbn check` prints them.
Cluster LoadHostsFile(const std::filesystem::path& path);

// This machine alone, with so many slots.
Cluster ThisMachine(int slots);

}  // namespace syncbn::app
