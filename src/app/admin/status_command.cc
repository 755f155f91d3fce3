#include <cstdio>

#include "app/client_options.h"
#include "app/client_text.h"
#include "app/exit_code.h"
#include "app/terminal.h"
#include "base/printable.h"
#include "base/text.h"

namespace syncbn::app {
namespace {

int Status(client::Connection& connection, const ClientOptions& options) {
  const v1::Server server =
      connection.Call(&v1::ClusterService::Stub::GetServer, v1::GetServerRequest());
  if (options.json) {
    Say(stdout, "%s\n", JsonLine(server).c_str());
    return kSuccess;
  }
  Say(stdout, "coordinator    %s, syncbn %s\n", options.address.c_str(),
      OneLine(server.version()).c_str());
  Say(stdout, "since          %s (%s)\n", LocalTime(server.start_time()).c_str(),
      Ago(server.start_time(), Clock::System().Now()).c_str());
  Say(stdout, "launcher       %s\n", OneLine(server.launcher()).c_str());
  Say(stdout, "jobs           %s\n", Thousands(server.jobs()).c_str());
  Say(stdout, "metric points  %s\n", Thousands(server.metric_points()).c_str());
  Say(stdout, "store          %s\n", Bytes(server.store_bytes()).c_str());
  Say(stdout, "largest        run file %s, message %s\n",
      Bytes(server.max_run_file_bytes()).c_str(), Bytes(server.max_message_bytes()).c_str());
  return kSuccess;
}

}  // namespace

void AddStatusCommand(CommandLine& line) {
  OnRun(AddClientCommand(line, "status", "Show a coordinator's version, launcher and figures",
                         "  syncbn status"),
        line, Status);
}

}  // namespace syncbn::app
