#include <algorithm>
#include <cstdio>

#include "app/client_options.h"
#include "app/client_text.h"
#include "app/exit_code.h"
#include "app/table.h"
#include "app/terminal.h"
#include "app/validators.h"

namespace syncbn::app {
namespace {

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
        Say(stdout, "%s\n", JsonLine(record).c_str());
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
  if (!options.json) Say(stdout, "%s", table.Render(Terminal::Of(stdout)).c_str());
  return kSuccess;
}

}  // namespace

void AddAuditCommand(CommandLine& line) {
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
