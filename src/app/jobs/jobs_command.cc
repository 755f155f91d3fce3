#include <algorithm>
#include <cstdint>
#include <cstdio>

#include "app/client_options.h"
#include "app/client_text.h"
#include "app/exit_code.h"
#include "app/jobs/job_selection.h"
#include "app/jobs/job_text.h"
#include "app/terminal.h"
#include "app/validators.h"

namespace syncbn::app {
namespace {

struct Arguments {
  JobSelection selection;
  bool all = false, best = false;
  int most = 50;
};

// The best first; those without an evaluation last, in the order in which they are.
void SortByBest(std::vector<v1::Job>& jobs) {
  std::stable_sort(jobs.begin(), jobs.end(), [](const v1::Job& a, const v1::Job& b) {
    const auto accuracy = [](const v1::Job& job) {
      return job.evaluation().has_best_accuracy() ? job.evaluation().best_accuracy() : -1.0;
    };
    return accuracy(a) > accuracy(b);
  });
}

int ShowJobs(client::Connection& connection, const ClientOptions& options, const Arguments& arguments) {
  const std::string filter = arguments.selection.Filter();
  const size_t most = arguments.all ? SIZE_MAX : static_cast<size_t>(arguments.most);
  // The best may be old.
  JobList list = ListJobs(connection, filter, arguments.best ? SIZE_MAX : most);
  if (arguments.best) {
    SortByBest(list.jobs);
    list.more = list.jobs.size() > most;
    if (list.more) list.jobs.erase(list.jobs.begin() + static_cast<ptrdiff_t>(most), list.jobs.end());
  }
  if (options.json) {
    for (const v1::Job& job : list.jobs) Say(stdout, "%s\n", JsonLine(job).c_str());
    return kSuccess;
  }
  if (list.jobs.empty()) {
    Say(stdout, filter.empty() ? "No jobs yet. To submit one: syncbn submit RUN.yaml\n"
                               : "No jobs match.\n");
    return kSuccess;
  }
  const Terminal terminal = Terminal::Of(stdout);
  Say(stdout, "%s", JobsTable(list.jobs, terminal, Clock::System().Now()).c_str());
  // Not part of the table: who counts its lines in a pipe counts jobs.
  if (list.more) {
    Say(stderr, "The %s %zu; --all shows the rest.\n", arguments.best ? "best" : "newest",
        list.jobs.size());
  }
  return kSuccess;
}

}  // namespace

void AddJobsCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  const ClientCommand client = AddClientCommand(
      line, "jobs", "List jobs, newest first, with their newest and best test accuracy",
      std::string("SET are the changes to the run file that a job was submitted with.\n") + kFilterHelp +
          "\n"
          "  syncbn jobs --state open\n"
          "  syncbn jobs --label study=batch-size --best\n"
          "  syncbn jobs --filter 'name : resnet AND failure = OOM'");
  arguments->selection.AddTo(client.command);
  client.command->add_flag("--best", arguments->best, "by their best test accuracy, the best first");
  client.command->add_option("--most", arguments->most, "at most N jobs")
      ->type_name("N")
      ->check(WholeNumberFrom(1))
      ->capture_default_str();
  client.command->add_flag("--all", arguments->all, "all jobs");
  OnRun(client, line, [=](client::Connection& connection, const ClientOptions& options) {
    return ShowJobs(connection, options, *arguments);
  });
}

}  // namespace syncbn::app
