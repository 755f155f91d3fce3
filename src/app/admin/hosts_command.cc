#include <cstdio>

#include "app/admin/hosts_check.h"
#include "app/client_options.h"
#include "app/client_text.h"
#include "app/exit_code.h"
#include "app/table.h"
#include "app/terminal.h"
#include "base/printable.h"
#include "base/text.h"

namespace syncbn::app {
namespace {

std::string HostNameOf(const std::string& text) {
  return text.starts_with("hosts/") ? text : "hosts/" + text;
}

std::string NoteOf(const v1::Host& host, WallTime now) {
  std::vector<std::string> notes;
  if (!host.reason().empty()) notes.push_back(host.reason());
  if (host.has_excluded_until() && host.state() == v1::Host::EXCLUDED) {
    notes.push_back("back " + Ago(host.excluded_until(), now));
  }
  if (host.recent_failures() > 0) {
    std::string note = Plural(host.recent_failures(), "recent failure");
    if (!host.last_failure().empty()) note += ", the last: " + host.last_failure();
    notes.push_back(note);
  }
  return Join(notes, "; ");
}

std::string StateOf(const v1::Host& host) {
  const std::string& name = v1::Host::State_Name(host.state());
  return name.empty() ? "UNKNOWN" : name;
}

std::string HostsTable(const v1::ListHostsResponse& hosts, const Terminal& terminal, WallTime now) {
  Table table({{.header = "HOST"},
               {.header = "STATE"},
               {.header = "SLOTS USED", .right = true},
               {.header = "MEMORY USED", .right = true, .goes = 2},
               {.header = "TAGS", .goes = 3},
               {.header = "JOBS", .goes = 1},
               {.header = "NOTE", .wraps = true}});
  for (const v1::Host& host : hosts.hosts()) {
    std::vector<std::string> jobs;
    for (const v1::HostUse& use : host.uses()) {
      jobs.push_back(LastPart(use.job()) + " (" + std::to_string(use.processes()) + ")");
    }
    std::string memory;
    if (host.memory_mib() > 0) {
      memory = Bytes(host.used_memory_mib() << 20) + " of " + Bytes(host.memory_mib() << 20);
    }
    const bool ready = host.state() == v1::Host::READY;
    table.Add({{LastPart(host.name())},
               {StateOf(host), ready ? Tone::kGood : Tone::kBad},
               {std::to_string(host.used_slots()) + " of " + std::to_string(host.slots())},
               {memory},
               {Join(std::vector<std::string>(host.tags().begin(), host.tags().end()), ",")},
               {Join(jobs, ", ")},
               {NoteOf(host, now)}});
  }
  return table.Render(terminal);
}

int ShowHosts(client::Connection& connection, const ClientOptions& options) {
  const v1::ListHostsResponse hosts =
      connection.CallForAll(&v1::ClusterService::Stub::ListHosts, v1::ListHostsRequest());
  if (options.json) {
    for (const v1::Host& host : hosts.hosts()) Say(stdout, "%s\n", JsonLine(host).c_str());
    return kSuccess;
  }
  if (hosts.hosts().empty()) {
    Say(stdout,
        "The coordinator places no processes itself (a batch system does), so it has no hosts.\n");
    return kSuccess;
  }
  Say(stdout, "%s", HostsTable(hosts, Terminal::Of(stdout), Clock::System().Now()).c_str());
  return kSuccess;
}

void PrintHost(const v1::Host& host, const ClientOptions& options) {
  if (options.json) {
    Say(stdout, "%s\n", JsonLine(host).c_str());
    return;
  }
  std::string text = OneLine(LastPart(host.name())) + " " + StateOf(host);
  if (host.state() == v1::Host::DRAINED) {
    text += host.uses().empty() ? ": nothing runs on it"
                                : ": " + Plural(host.uses_size(), "job") + " still runs on it";
    if (host.uses_size() > 1) text.replace(text.find("runs"), 4, "run");
  }
  Say(stdout, "%s\n", text.c_str());
}

struct Arguments {
  std::string host, reason;
};

}  // namespace

void AddHostsCommand(CommandLine& line) {
  const ClientCommand hosts = AddClientCommand(
      line, "hosts", "Show hosts, their slots and what runs there; drain and restore them",
      "  syncbn hosts\n"
      "  syncbn hosts drain node2 --reason 'new memory'\n"
      "  syncbn hosts restore node2\n"
      "  syncbn hosts check hosts.yaml --data /shared/coordinator");
  // After a subcommand its options are its own.
  hosts.command->require_subcommand(0, 1);

  auto file = std::make_shared<std::filesystem::path>();
  auto folder = std::make_shared<std::filesystem::path>();
  Command check = hosts.command->add_subcommand(
      "check", "Try the machines of a hosts file before a job does");
  check.footer(
      "Where the coordinator is to run, as its user: reaches every host, compares program, processor,\n"
      "MPI and clock, looks whether the coordinator's folder is shared, and does one training step\n"
      "under mpirun across all. Ends with 0 where a job would start, 1 where not.\n\n"
      "  syncbn hosts check hosts.yaml --data /shared/coordinator");
  check.add_option("HOSTS.yaml", *file, "the hosts file")->required();
  check.add_option("--data", *folder, "the coordinator's folder, as in syncbn serve")->type_name("DIR")->required();
  check.callback([file, folder, &line] { line.exit_code = CheckHosts(*file, *folder); });

  auto drained = std::make_shared<Arguments>();
  const ClientCommand drain = AddClientCommand(
      hosts.command, "drain", "Start nothing more on a host; what runs there goes on",
      "  syncbn hosts drain node2 --reason 'new memory'");
  drain.command->add_option("HOST", drained->host, "its name")->required();
  drain.command->add_option("--reason", drained->reason, "why; shown in 'syncbn hosts'")->type_name("TEXT");

  auto restored = std::make_shared<Arguments>();
  const ClientCommand restore = AddClientCommand(
      hosts.command, "restore", "Take a drained or excluded host into use again",
      "  syncbn hosts restore node2");
  restore.command->add_option("HOST", restored->host, "its name")->required();

  OnRun(drain, line, [drained](client::Connection& connection, const ClientOptions& options) {
    v1::DrainHostRequest request;
    request.set_name(HostNameOf(drained->host));
    request.set_reason(drained->reason);
    PrintHost(connection.Call(&v1::ClusterService::Stub::DrainHost, request), options);
    return kSuccess;
  });
  OnRun(restore, line, [restored](client::Connection& connection, const ClientOptions& options) {
    v1::RestoreHostRequest request;
    request.set_name(HostNameOf(restored->host));
    PrintHost(connection.Call(&v1::ClusterService::Stub::RestoreHost, request), options);
    return kSuccess;
  });
  OnRun(hosts, line, [command = hosts.command, &line](client::Connection& connection, const ClientOptions& options) {
    // A subcommand has run already.
    return command->got_subcommand() ? line.exit_code : ShowHosts(connection, options);
  });
}

}  // namespace syncbn::app
