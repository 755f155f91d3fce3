#include "app/client_options.h"
#include "app/client_text.h"
#include "app/jobs/job_follow.h"
#include "app/validators.h"

namespace syncbn::app {

void AddWatchCommand(CommandLine& line) {
  struct Arguments {
    std::string job, filter;
  };
  auto arguments = std::make_shared<Arguments>();
  const ClientCommand client = AddClientCommand(
      line, "watch", "Follow one job to its end, or what happens to all of them",
      "Ctrl-C ends the watching, not the job. A coordinator that is restarted meanwhile is waited for.\n\n"
      "  syncbn watch 17\n"
      "  syncbn watch --filter 'labels.team = vision'\n\n"
      "Exit codes, for one job: 0 succeeded, 10 failed, 11 cancelled, 9 no coordinator answers,\n"
      "130 left by Ctrl-C.");
  client.command->add_option("JOB", arguments->job, "its number; without one, all jobs")
      ->check(NotEmpty());
  client.command->add_option("--filter", arguments->filter, 
                             "without a number: only jobs that match, see 'syncbn jobs --help'")
      ->type_name("TERMS");
  OnRun(client, line, [=, command = client.command](client::Connection& connection,
                                                    const ClientOptions& options) {
    RequireOneOf(command, {"JOB", "--filter"});
    if (arguments->job.empty()) return FollowAllJobs(connection, arguments->filter, options.json);
    return FollowJob(connection, {.job = JobNameOf(arguments->job), .json = options.json});
  });
}

}  // namespace syncbn::app
