#include <cstdio>

#include "app/client_options.h"
#include "app/client_text.h"
#include "app/exit_code.h"
#include "app/terminal.h"
#include "base/printable.h"
#include "base/text.h"

namespace syncbn::app {
namespace {

int BackUp(client::Connection& connection, const ClientOptions& options) {
  const v1::BackUpStoreResponse backup =
      connection.Call(&v1::ClusterService::Stub::BackUpStore, v1::BackUpStoreRequest());
  if (options.json) {
    Say(stdout, "%s\n", JsonLine(backup).c_str());
  } else {
    Say(stdout, "%s on the coordinator's machine, %s\n", OneLine(backup.path()).c_str(),
        Bytes(backup.bytes()).c_str());
  }
  return kSuccess;
}

}  // namespace

void AddBackupCommand(CommandLine& line) {
  OnRun(AddClientCommand(
            line, "backup", "Copy a coordinator's store while it serves",
            "The copy is in the folder `backups` of the coordinator's data folder. To use it, stop the\n"
            "coordinator, put the copy in the place of store.db and remove store.db-wal and store.db-shm.\n"
            "Jobs that came after the copy are then not known any more: those that still run are ended.\n\n"
            "  syncbn backup"),
        line, BackUp);
}

}  // namespace syncbn::app
