#include <cstdio>

#include "app/client_options.h"
#include "app/client_text.h"
#include "app/exit_code.h"
#include "app/jobs/job_text.h"
#include "app/terminal.h"

namespace syncbn::app {
namespace {

struct Arguments {
  std::string job;
  bool run_file = false, effective = false;
};

JobPage PageOf(client::Connection& connection, const std::string& name) {
  JobPage page;
  v1::GetJobRequest get;
  get.set_name(name);
  page.job = connection.Call(&v1::JobService::Stub::GetJob, get);
  v1::ListAttemptsRequest attempts;
  attempts.set_parent(name);
  do {
    const v1::ListAttemptsResponse response =
        connection.Call(&v1::JobService::Stub::ListAttempts, attempts);
    page.attempts.insert(page.attempts.end(), response.attempts().begin(),
                         response.attempts().end());
    attempts.set_page_token(response.next_page_token());
  } while (!attempts.page_token().empty());
  v1::ListTransitionsRequest transitions;
  transitions.set_parent(name);
  transitions.set_page_size(1000);
  do {
    const v1::ListTransitionsResponse response =
        connection.Call(&v1::JobService::Stub::ListTransitions, transitions);
    page.transitions.insert(page.transitions.end(), response.transitions().begin(),
                            response.transitions().end());
    transitions.set_page_token(response.next_page_token());
  } while (!transitions.page_token().empty());
  v1::ListCheckpointsRequest checkpoints;
  checkpoints.set_parent(name);
  try {
    page.checkpoints = connection.Call(&v1::JobService::Stub::ListCheckpoints, checkpoints);
  } catch (const client::Unreachable&) {
    throw;
  } catch (const Error& error) {
    // A file system that does not answer, say: all else is known without it.
    page.checkpoints_unknown = error.message();
  }
  return page;
}

std::string JsonOf(const JobPage& page) {
  const auto list = [](const auto& messages) {
    std::string text = "[";
    for (const auto& message : messages) text += (text.size() > 1 ? "," : "") + JsonLine(message);
    return text + "]";
  };
  return "{\"job\":" + JsonLine(page.job) + ",\"attempts\":" + list(page.attempts) +
         ",\"transitions\":" + list(page.transitions) +
         (page.checkpoints_unknown.empty()
              ? ",\"checkpoints\":" + list(page.checkpoints.checkpoints())
              : "") +
         "}";
}

int ShowJob(client::Connection& connection, const ClientOptions& options, const Arguments& arguments) {
  const std::string name = JobNameOf(arguments.job);
  if (arguments.run_file || arguments.effective) {
    v1::GetJobRequest request;
    request.set_name(name);
    request.set_view(v1::JOB_VIEW_FULL);
    const v1::Job job = connection.Call(&v1::JobService::Stub::GetJob, request);
    const std::string& text = arguments.effective ? job.effective_run_file() : job.run_file();
    SayExactly(text);
    return kSuccess;
  }
  const JobPage page = PageOf(connection, name);
  if (options.json) {
    Say(stdout, "%s\n", JsonOf(page).c_str());
  } else {
    Say(stdout, "%s", JobText(page, Terminal::Of(stdout), Clock::System().Now()).c_str());
  }
  return kSuccess;
}

}  // namespace

void AddJobCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  const ClientCommand client = AddClientCommand(
      line, "job", "Show everything about one job: state, reasons, attempts, history",
      "  syncbn job 17\n"
      "  syncbn job 17 --run-file > run.yaml\n"
      "  syncbn job 17 --json | jq -r .job.state");
  client.command->add_option("JOB", arguments->job, "its number, as in 17 or jobs/17")->required();
  client.command->add_flag(
      "--run-file", arguments->run_file, "print the run file as it was submitted, nothing else");
  client.command
      ->add_flag("--effective", arguments->effective,
                 "print the run file in effect, with the origin of each value");
  OnRun(client, line, [=, command = client.command](client::Connection& connection,
                                                    const ClientOptions& options) {
    RequireOneOf(command, {"--run-file", "--effective", "--json"});
    return ShowJob(connection, options, *arguments);
  });
}

}  // namespace syncbn::app
