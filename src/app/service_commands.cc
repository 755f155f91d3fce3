// What administrators ask of a coordinator: how it is, a copy of its store, who did what.
#include <cstdio>

#include "app/client_options.h"
#include "app/client_text.h"
#include "app/exit_code.h"
#include "app/table.h"
#include "app/validators.h"

namespace syncbn::app {
namespace {

int Status(client::Connection& connection, const ClientOptions& options) {
  const v1::Server server =
      connection.Call(&v1::ClusterService::Stub::GetServer, v1::GetServerRequest());
  if (options.json) {
    std::printf("%s\n", JsonLine(server).c_str());
    return kSuccess;
  }
  std::printf("coordinator    %s, syncbn %s\n", options.address.c_str(), server.version().c_str());
  std::printf("since          %s (%s)\n", LocalTime(server.start_time()).c_str(),
              Ago(server.start_time(), Clock::System().Now()).c_str());
  std::printf("launcher       %s\n", server.launcher().c_str());
  std::printf("jobs           %s\n", Thousands(server.jobs()).c_str());
  std::printf("metric points  %s\n", Thousands(server.metric_points()).c_str());
  std::printf("store          %s\n", Bytes(server.store_bytes()).c_str());
  std::printf("largest        run file %s, message %s\n", Bytes(server.max_run_file_bytes()).c_str(),
              Bytes(server.max_message_bytes()).c_str());
  return kSuccess;
}

int BackUp(client::Connection& connection, const ClientOptions& options) {
  const v1::BackUpStoreResponse backup =
      connection.Call(&v1::ClusterService::Stub::BackUpStore, v1::BackUpStoreRequest());
  if (options.json) {
    std::printf("%s\n", JsonLine(backup).c_str());
  } else {
    std::printf("%s on the coordinator's machine, %s\n", backup.path().c_str(),
                Bytes(backup.bytes()).c_str());
  }
  return kSuccess;
}

int Audit(client::Connection& connection, const ClientOptions& options, int most) {
  Table table({{.header = "TIME"},
               {.header = "WHO"},
               {.header = "WHAT"},
               {.header = "OF"},
               {.header = "OUTCOME"},
               {.header = "FROM"}});
  v1::ListAuditRequest request;
  for (int left = most; left > 0;) {
    request.set_page_size(std::min(left, 1000));
    const v1::ListAuditResponse page =
        connection.Call(&v1::AdminService::Stub::ListAudit, request);
    for (const v1::AuditRecord& record : page.records()) {
      if (options.json) {
        std::printf("%s\n", JsonLine(record).c_str());
      } else {
        table.Add({{LocalTime(record.time())},
                   {record.actor().empty() ? "-" : record.actor()},
                   {record.method()},
                   {record.resource().empty() ? "-" : record.resource()},
                   {record.code()},
                   {record.peer()}});
      }
    }
    left -= page.records_size();
    request.set_page_token(page.next_page_token());
    if (page.next_page_token().empty() || page.records().empty()) break;
  }
  if (!options.json) std::printf("%s", table.Render(Terminal::Of(stdout)).c_str());
  return kSuccess;
}

}  // namespace

void AddServiceCommands(CommandLine& line) {
  OnRun(AddClientCommand(line, "status", "Show a coordinator's version, launcher and figures",
                         "  syncbn status"),
        line, Status);
  OnRun(AddClientCommand(
            line, "backup", "Copy a coordinator's store while it serves",
            "The copy is in the folder `backups` of the coordinator's data folder. To use it, stop the\n"
            "coordinator, put the copy in the place of store.db and remove store.db-wal and store.db-shm.\n\n"
            "  syncbn backup"),
        line, BackUp);
  const ClientCommand audit =
      AddClientCommand(line, "audit", "Show who asked a coordinator for what, newest first",
                       "Every call that changes something is kept, and every one that was refused.\n\n"
                       "  syncbn audit --most 20");
  auto most = std::make_shared<int>(100);
  audit.command->add_option("--most", *most, "at most N calls")
      ->type_name("N")
      ->check(WholeNumberFrom(1))
      ->capture_default_str();
  OnRun(audit, line, [most](client::Connection& connection, const ClientOptions& options) {
    return Audit(connection, options, *most);
  });
}

}  // namespace syncbn::app
