// The command line of mpirun for an attempt. Always words, never a line for a shell.
#pragma once

#include <string>
#include <vector>

#include "coordinator/launch/launcher.h"

namespace syncbn::coordinator {

struct MpirunSettings {
  std::string mpirun = "mpirun";
  // Command that runs a command on another host, in words.
  std::vector<std::string> launch_agent = {"ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"};
  // For --mca, each "name value".
  std::vector<std::string> mca;
  // Variables of mpirun's own environment that every rank gets, too (OperatorSettings).
  std::vector<std::string> exports;
  // What there is on each host, to know where processes outnumber cores.
  std::vector<HostCapacity> hosts;
};

// Throws INVALID_ARGUMENT for an mca setting that is not "name value".
void ValidateMpirunSettings(const MpirunSettings& settings);

// "node1 slots=4" lines; slots are the processes that were placed there, so that mpirun neither
// refuses a small machine nor moves a process to another host.
std::string HostfileText(const Placement& placement);

// Runs every rank without binding (a process runs many replica threads), and lets waiting processes
// yield where there are more of them than cores.
std::vector<std::string> MpirunCommand(const MpirunSettings& settings, const LaunchRequest& request,
                                       const std::string& hostfile);

// mpirun in an allocation of a batch system, which tells it the hosts.
std::vector<std::string> MpirunInAllocation(const MpirunSettings& settings,
                                            const LaunchRequest& request);

// Hosts of the placement that are not this machine.
std::vector<std::string> RemoteHosts(const Placement& placement);

// What a launcher needs of this process's environment: search paths, a home, locale, agents, and
// the settings of communication libraries that the operator has made for it (OMPI_MCA_*, PMIX_*,
// PRTE_*, UCX_*, NCCL_*). Nothing that belongs to the coordinator itself.
std::vector<std::string> BaseEnvironment();

// That with the request's own variables, which count more.
std::vector<std::string> LauncherEnvironment(const LaunchRequest& request);

// Names of those settings that mpirun does not hand to ranks on other hosts unless told to.
std::vector<std::string> OperatorSettings();

}  // namespace syncbn::coordinator
