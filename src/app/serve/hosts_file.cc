#include "app/serve/hosts_file.h"

#include <cmath>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/bounded_file.h"
#include "base/file.h"
#include "base/host.h"
#include "base/printable.h"
#include "config/decode.h"
#include "syncbn/v1/hosts.pb.h"

namespace syncbn::app {
namespace {

std::vector<std::string> SplitAtBlanks(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

[[noreturn]] void Fail(const std::filesystem::path& path, const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, path.string() + ": " + message);
}

}  // namespace

Cluster LoadHostsFile(const std::filesystem::path& path) {
  v1::HostsFile file;
  config::Decoded decoded =
      config::DecodeYaml(ReadFileUpTo(path, 1 << 24, "a hosts file"), path.string(), file);
  if (!decoded.diagnostics.empty()) {
    throw Error(ErrorCode::kInvalidArgument, decoded.diagnostics.Format(path.string()));
  }
  Cluster cluster;
  std::set<std::string> names;
  for (const v1::HostSpec& host : file.hosts()) {
    if (!names.insert(host.name()).second) Fail(path, "host '" + host.name() + "' stands twice");
    // It becomes a line of mpirun's host file and a word of the launch agent's command.
    if (host.name().empty() || host.name()[0] == '-' ||
        host.name().find_first_of(" \t\r\n#=:,'\"") != std::string::npos ||
        Printable(host.name()) != host.name()) {
      Fail(path, "'" + host.name() + "' cannot be the name of a host");
    }
    cluster.hosts.push_back(
        {.name = host.name(),
         .slots = host.slots(),
         .cores = host.cores(),
         .memory_mib = static_cast<int64_t>(std::llround(host.memory_gib() * 1024)),
         .tags = {host.tags().begin(), host.tags().end()}});
  }
  if (cluster.hosts.empty()) Fail(path, "there are no hosts in it");
  cluster.mpirun = {.mpirun = file.mpirun(),
                    .launch_agent = SplitAtBlanks(file.launch_agent()),
                    .mca = {file.mca().begin(), file.mca().end()},
                    .hosts = cluster.hosts};
  if (cluster.mpirun.launch_agent.empty()) Fail(path, "launch_agent is empty");
  cluster.program = file.program();
  return cluster;
}

Cluster ThisMachine(int slots) {
  Cluster cluster;
  cluster.hosts = {{.name = "localhost",
                    .slots = slots,
                    .cores = AvailableCores(),
                    .memory_mib = MemoryBytes() >> 20}};
  cluster.mpirun.hosts = cluster.hosts;
  return cluster;
}

}  // namespace syncbn::app
