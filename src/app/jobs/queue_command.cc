#include <cstdio>
#include <map>

#include "app/client_options.h"
#include "app/client_text.h"
#include "app/exit_code.h"
#include "app/jobs/job_selection.h"
#include "app/jobs/job_text.h"
#include "app/table.h"
#include "app/terminal.h"
#include "base/text.h"

namespace syncbn::app {
namespace {

int ShowQueue(client::Connection& connection, const ClientOptions& options) {
  const v1::Queue queue =
      connection.Call(&v1::ClusterService::Stub::GetQueue, v1::GetQueueRequest());
  if (options.json) {
    for (const v1::QueueEntry& entry : queue.entries())
      Say(stdout, "%s\n", JsonLine(entry).c_str());
    return kSuccess;
  }
  std::string slots;
  // A launcher that places by itself has no slots of ours.
  if (queue.slots() > 0) {
    slots = std::to_string(queue.free_slots()) + " of " + Plural(queue.slots(), "slot") +
            (queue.free_slots() == 1 ? " is free." : " are free.");
  }
  if (queue.entries().empty()) {
    Say(stdout, "No job waits. %s\n", slots.c_str());
    return kSuccess;
  }
  const Terminal terminal = Terminal::Of(stdout);
  const WallTime now = Clock::System().Now();
  // What tells the jobs of a sweep apart.
  std::map<std::string, v1::Job> jobs;
  const auto waiting = static_cast<size_t>(queue.entries_size() + queue.left_out());
  for (v1::Job& job : ListJobs(connection, "state = QUEUED", waiting).jobs)
    jobs[job.name()] = std::move(job);
  std::vector<const v1::Job*> shown;
  for (const v1::QueueEntry& entry : queue.entries()) shown.push_back(&jobs[entry.job()]);
  const JobTags tags(shown, terminal);
  Table table({{.header = "NO", .right = true},
               {.header = "JOB", .right = true},
               {.header = "NAME", .goes = 2},
               {.header = "LABELS", .goes = 1},
               {.header = "SET", .goes = 3},
               {.header = "PRIORITY", .right = true, .goes = 5},
               {.header = "WAITS SINCE", .right = true, .goes = 6},
               {.header = "STARTS BY", .right = true, .goes = 4},
               {.header = "WHY", .wraps = true}});
  for (const v1::QueueEntry& entry : queue.entries()) {
    const v1::PendingReason& pending = entry.pending();
    const v1::Job& job = jobs[entry.job()];
    table.Add({{std::to_string(pending.position())},
               {LastPart(entry.job())},
               {entry.display_name()},
               {tags.Labels(job)},
               {tags.Changes(job)},
               {std::to_string(entry.priority())},
               {Ago(entry.queue_time(), now)},
               {pending.has_latest_start() ? Ago(pending.latest_start(), now) : ""},
               {pending.message()}});
  }
  Say(stdout, "%s", table.Render(terminal).c_str());
  if (queue.left_out() > 0) Say(stderr, "And %d more behind these.\n", queue.left_out());
  if (!slots.empty()) Say(stderr, "%s\n", slots.c_str());
  return kSuccess;
}

}  // namespace

void AddQueueCommand(CommandLine& line) {
  const ClientCommand client = AddClientCommand(
      line, "queue", "Show the jobs that wait, in the order in which they start, and why",
      "  syncbn queue");
  OnRun(client, line, ShowQueue);
}

}  // namespace syncbn::app
