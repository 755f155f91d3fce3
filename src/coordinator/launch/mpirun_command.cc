#include "coordinator/launch/mpirun_command.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>

#include "base/environment.h"
#include "base/error.h"
#include "base/host.h"
#include "coordinator/launch/process.h"

namespace syncbn::coordinator {
namespace {

void Append(std::vector<std::string>& command, std::initializer_list<std::string> words) {
  command.insert(command.end(), words);
}

// "name value" -> the two words that follow --mca.
std::pair<std::string, std::string> SplitMca(const std::string& setting) {
  const size_t blank = setting.find(' ');
  const std::string name = setting.substr(0, blank);
  const bool word = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_';
  });
  if (blank == std::string::npos || blank + 1 == setting.size() || !word) {
    throw Error(
        ErrorCode::kInvalidArgument,
        "mca setting '" + setting + "' must be `name value`, e.g. `btl_tcp_if_include eth0`");
  }
  return {name, setting.substr(blank + 1)};
}

// Open MPI 4.1 shares the topology of a host through a hole in the address space that it looks for; now and
// then (once in some forty starts) it takes one that is none, and mpirun or a daemon dies of SIGSEGV. Nothing
// is bound here, so nobody needs it.
std::vector<std::string> BeginCommand(const MpirunSettings& settings) {
  return {settings.mpirun, "--tag-output", "--bind-to", "none", "--map-by", "slot",
          "--mca", "rtc_hwloc_vmhole", "none"};
}

void AppendMca(std::vector<std::string>& command, const std::vector<std::string>& settings) {
  for (const std::string& setting : settings) {
    const auto [name, value] = SplitMca(setting);
    Append(command, {"--mca", name, value});
  }
}

bool OutnumbersCores(const MpirunSettings& settings, const LaunchRequest& request) {
  for (const Share& share : request.placement) {
    for (const HostCapacity& host : settings.hosts) {
      if (host.name != share.host) continue;
      const int cores = host.cores > 0 ? host.cores : host.slots;
      if (share.processes * request.request.threads > cores) return true;
    }
  }
  return false;
}

// The variables that go to the ranks, by name: their values are in mpirun's own environment and not
// on a command line that everybody can read.
void AppendExports(std::vector<std::string>& command, const MpirunSettings& settings,
                   const LaunchRequest& request) {
  Append(command, {"-x", std::string(kMarkerVariable)});
  for (const std::string& name : settings.exports) {
    if (!HasVariable(request.environment, name)) Append(command, {"-x", name});
  }
  for (const std::string& entry : request.environment) Append(command, {"-x", VariableName(entry)});
}

void AppendProgram(std::vector<std::string>& command, const LaunchRequest& request) {
  command.insert(command.end(), request.program.begin(), request.program.end());
}

// How communication libraries are set by variables.
bool IsOperatorSetting(std::string_view name) {
  for (const std::string_view prefix : {"OMPI_MCA_", "PMIX_", "PRTE_", "UCX_", "NCCL_"}) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

// This process was itself started by mpirun or srun: variables of those kinds tell it which rank of
// which job it is, and would tell a job's mpirun the same.
bool IsRank(const std::vector<std::string>& environment) {
  return HasVariable(environment, "OMPI_COMM_WORLD_RANK") || HasVariable(environment, "PMIX_RANK");
}

// mpirun needs one to look for its settings in, and crashes where there is none and the user is not in
// the system's list.
std::string Home() {
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') return home;
  passwd entry{}, *user = nullptr;
  std::array<char, 4096> text{};
  ::getpwuid_r(::geteuid(), &entry, text.data(), text.size(), &user);
  return user != nullptr && *user->pw_dir != '\0' ? user->pw_dir : "/";
}

bool IsThisMachine(const std::string& host) {
  return host == "localhost" || host == HostName();
}

}  // namespace

void ValidateMpirunSettings(const MpirunSettings& settings) {
  for (const std::string& setting : settings.mca) SplitMca(setting);
}

std::string HostfileText(const Placement& placement) {
  std::string text;
  for (const Share& share : placement) {
    text += share.host + " slots=" + std::to_string(share.processes) + "\n";
  }
  return text;
}

std::vector<std::string> MpirunCommand(const MpirunSettings& settings, const LaunchRequest& request,
                                       const std::string& hostfile) {
  std::vector<std::string> command = BeginCommand(settings);
  Append(command, {"-np", std::to_string(request.request.processes), "--hostfile", hostfile});
  // Names as they are in the hosts file, not cut at the first dot.
  Append(command, {"--mca", "plm", "rsh", "--mca", "orte_keep_fqdn_hostnames", "1"});
  if (!RemoteHosts(request.placement).empty()) {
    std::string agent;
    for (const std::string& word : settings.launch_agent)
      agent += (agent.empty() ? "" : " ") + word;
    // Every host is reached from here: hosts need not reach each other by the agent.
    Append(command, {"--mca", "plm_rsh_agent", agent, "--mca", "plm_rsh_no_tree_spawn", "1"});
    // A daemon that left its session and died before it had called back would be waited for for ever.
    Append(command, {"--mca", "orte_leave_session_attached", "1"});
  }
  if (OutnumbersCores(settings, request)) {
    Append(command, {"--oversubscribe", "--mca", "mpi_yield_when_idle", "1"});
  }
  AppendMca(command, settings.mca);
  AppendExports(command, settings, request);
  AppendProgram(command, request);
  return command;
}

std::vector<std::string> MpirunInAllocation(const MpirunSettings& settings,
                                            const LaunchRequest& request) {
  std::vector<std::string> command = BeginCommand(settings);
  Append(command, {"-np", std::to_string(request.request.processes)});
  AppendMca(command, settings.mca);
  AppendExports(command, settings, request);
  AppendProgram(command, request);
  return command;
}

std::vector<std::string> RemoteHosts(const Placement& placement) {
  std::vector<std::string> hosts;
  for (const Share& share : placement) {
    if (!IsThisMachine(share.host)) hosts.push_back(share.host);
  }
  return hosts;
}

std::vector<std::string> BaseEnvironment() {
  const std::vector<std::string> own = OwnEnvironment();
  const bool is_rank = IsRank(own);
  std::vector<std::string> environment;
  for (const std::string& entry : own) {
    const std::string name = VariableName(entry);
    const bool launcher = name.starts_with("OMPI_ALLOW_") || name == "OPAL_PREFIX";
    const bool locale = name == "LANG" || name.starts_with("LC_");
    const bool other = name == "PATH" || name == "USER" || name == "LOGNAME" || name == "SHELL" ||
                       name == "LD_LIBRARY_PATH" || name == "SSH_AUTH_SOCK" || name == "TZ" ||
                       name == "ASAN_OPTIONS" || name == "TSAN_OPTIONS";
    const bool settings = IsOperatorSetting(name) && !is_rank;
    if (launcher || locale || other || settings) environment.push_back(entry);
  }
  SetVariable(environment, "HOME", Home());
  return environment;
}

std::vector<std::string> LauncherEnvironment(const LaunchRequest& request) {
  std::vector<std::string> environment = BaseEnvironment();
  for (const std::string& entry : request.environment) {
    const std::string name = VariableName(entry);
    SetVariable(environment, name, entry.substr(name.size() + 1));
  }
  return environment;
}

std::vector<std::string> OperatorSettings() {
  const std::vector<std::string> own = OwnEnvironment();
  std::vector<std::string> names;
  if (IsRank(own)) return names;
  for (const std::string& entry : own) {
    std::string name = VariableName(entry);
    // mpirun takes its own along by itself.
    if (IsOperatorSetting(name) && !name.starts_with("OMPI_")) names.push_back(std::move(name));
  }
  return names;
}

}  // namespace syncbn::coordinator
