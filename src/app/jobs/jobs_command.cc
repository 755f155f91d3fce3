#include <cstdio>

#include "app/client_options.h"
#include "app/client_text.h"
#include "app/console.h"
#include "app/exit_code.h"
#include "app/jobs/job_text.h"
#include "app/terminal.h"
#include "app/validators.h"
#include "base/text.h"

namespace syncbn::app {
namespace {

struct Arguments {
  std::string filter, state;
  std::vector<std::string> labels;
  bool all = false;
  int most = 50;
};

std::string FilterOf(const Arguments& arguments) {
  std::vector<std::string> terms;
  if (!arguments.filter.empty()) terms.push_back(arguments.filter);
  if (!arguments.state.empty()) {
    std::string state = arguments.state;
    // As the coordinator spells them: open and ended in small letters, states in capitals.
    const bool open_or_ended = state == "open" || state == "ended";
    for (char& c : state) c = open_or_ended ? c : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    terms.push_back("state = " + state);
  }
  for (const std::string& label : arguments.labels) {
    const auto [key, value] = ParsePair(label, "--label");
    // A value may hold blanks; of the two quotes, one that it does not hold.
    const std::string quote = value.find('"') == std::string::npos ? "\"" : "'";
    terms.push_back("labels." + key + " = " + quote + value + quote);
  }
  return Join(terms, " AND ");
}

int ListJobs(client::Connection& connection, const ClientOptions& options, const Arguments& arguments) {
  v1::ListJobsRequest request;
  request.set_filter(FilterOf(arguments));
  std::vector<v1::Job> jobs;
  bool more = true;
  while (more) {
    const auto left = static_cast<int64_t>(arguments.most) - static_cast<int64_t>(jobs.size());
    request.set_page_size(arguments.all ? 1000 : static_cast<int>(std::min<int64_t>(1000, left)));
    const v1::ListJobsResponse response = connection.Call(&v1::JobService::Stub::ListJobs, request);
    for (const v1::Job& job : response.jobs()) {
      if (options.json) Say(stdout, "%s\n", JsonLine(job).c_str());
      jobs.push_back(job);
    }
    request.set_page_token(response.next_page_token());
    more = !response.next_page_token().empty();
    if (!arguments.all && jobs.size() >= static_cast<size_t>(arguments.most)) break;
  }
  if (options.json) return kSuccess;
  if (jobs.empty()) {
    Say(stdout, request.filter().empty() ? "No jobs yet. To submit one: syncbn submit RUN.yaml\n"
                                         : "No jobs match.\n");
    return kSuccess;
  }
  const Terminal terminal = Terminal::Of(stdout);
  Say(stdout, "%s", JobsTable(jobs, terminal, Clock::System().Now()).c_str());
  // Not part of the table: who counts its lines in a pipe counts jobs.
  if (more) {
    Say(stderr, "The newest %zu; --all shows the rest.\n", jobs.size());
  }
  return kSuccess;
}

}  // namespace

void AddJobsCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  const ClientCommand client = AddClientCommand(
      line, "jobs", "List jobs, newest first",
      "A filter is made of terms joined by AND: FIELD OP VALUE, with the fields state, name, submitter,\n"
      "priority, attempt, create_time, end_time, labels.KEY and failure (its class), and the operators\n"
      "= != < <= > >= and : (contains).\n\n"
      "  syncbn jobs --state open\n"
      "  syncbn jobs --filter 'name : resnet AND failure = OOM'");
  client.command->add_option("--state", arguments->state,
                             "queued, running, failed, ..., or open, or ended")
      ->type_name("STATE");
  client.command->add_option("--label", arguments->labels, "only jobs with this label")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  client.command->add_option("--filter", arguments->filter, "only jobs that match")->type_name("TERMS");
  client.command->add_option("--most", arguments->most, "at most N jobs")
      ->type_name("N")
      ->check(WholeNumberFrom(1))
      ->capture_default_str();
  client.command->add_flag("--all", arguments->all, "all jobs");
  OnRun(client, line, [=](client::Connection& connection, const ClientOptions& options) {
    return ListJobs(connection, options, *arguments);
  });
}

}  // namespace syncbn::app
