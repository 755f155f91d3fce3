// cancel, pause, resume, retry and delete: what changes a job that exists.
#include <cstdio>

#include "app/client_options.h"
#include "app/client_text.h"
#include "app/exit_code.h"
#include "app/jobs/job_text.h"
#include "app/terminal.h"
#include "app/validators.h"

namespace syncbn::app {
namespace {

struct Arguments {
  std::vector<std::string> jobs;
  std::string reason;
  bool kill = false;
  int processes = 0;
};

template <typename Request>
Request RequestFor(const std::string& job, const Arguments& arguments) {
  Request request;
  request.set_name(job);
  request.set_reason(arguments.reason);
  return request;
}

// With --processes: the job's resources with another number. The etag keeps it from being changed
// between reading and writing.
template <typename Request>
Request RestartRequest(client::Connection& connection, const std::string& name,
                       const Arguments& arguments) {
  Request request = RequestFor<Request>(name, arguments);
  if (arguments.processes > 0) {
    v1::GetJobRequest get;
    get.set_name(name);
    // In which the hosts are that it may use.
    get.set_view(v1::JOB_VIEW_FULL);
    const v1::Job job = connection.Call(&v1::JobService::Stub::GetJob, get);
    *request.mutable_resources() = job.resources();
    request.mutable_resources()->set_processes(arguments.processes);
    request.set_etag(job.etag());
  }
  return request;
}

void Print(const v1::Job& job, const ClientOptions& options) {
  if (options.json) {
    Say(stdout, "%s\n", JsonLine(job).c_str());
    return;
  }
  const Terminal terminal = Terminal::Of(stdout);
  std::string text = job.name() + " " + terminal.Paint(StateName(job.state()), ToneOf(job.state()));
  switch (job.state()) {
    case v1::Job::CANCELLING: text += ": its processes are being ended"; break;
    case v1::Job::PAUSING: text += ": its workers write a checkpoint and leave"; break;
    case v1::Job::PAUSED: text += ": 'syncbn resume " + LastPart(job.name()) + "' lets it go on"; break;
    default:
      if (const std::string note = NoteOf(job, Clock::System().Now()); !note.empty()) text += ": " + note;
  }
  Say(stdout, "%s\n", text.c_str());
}

using Verb = std::function<v1::Job(client::Connection&, const std::string&, const Arguments&)>;

// All are tried: what one refuses says nothing of the next. The exit code.
int ForEachJob(const std::vector<std::string>& jobs, const std::function<void(const std::string&)>& act) {
  std::vector<std::string> names;
  for (const std::string& job : jobs) names.push_back(JobNameOf(job));
  int code = kSuccess;
  size_t refused = 0;
  for (const std::string& job : names) {
    try {
      act(job);
    } catch (const client::Unreachable&) {
      throw;
    } catch (const Error& error) {
      if (names.size() == 1) throw;
      // More lines than these nobody reads; the sum says how many there are.
      constexpr size_t kMostLines = 10;
      if (++refused <= kMostLines) Say(stderr, "syncbn: %s\n", error.what());
      code = ExitCodeOf(error);
    }
    std::fflush(stdout);
  }
  if (refused > 0) {
    Say(stderr, "syncbn: %zu of %zu jobs refused%s\n", refused, names.size(),
        refused < names.size() ? "; the others did as they were told" : "");
  }
  return code;
}

// Adds a verb for one or more jobs.
ClientCommand AddVerb(CommandLine& line, const std::shared_ptr<Arguments>& arguments, const char* name,
                      const char* description, const char* help, Verb verb) {
  const ClientCommand client = AddClientCommand(line, name, description, help);
  client.command->add_option("JOB", arguments->jobs, "their numbers, as in 17 or jobs/17")->required();
  OnRun(client, line, [=](client::Connection& connection, const ClientOptions& options) {
    return ForEachJob(arguments->jobs, [&](const std::string& job) {
      Print(verb(connection, job, *arguments), options);
    });
  });
  return client;
}

void AddReason(const ClientCommand& client, const std::shared_ptr<Arguments>& arguments) {
  client.command->add_option("--reason", arguments->reason, "why; kept in the job's history")
      ->type_name("TEXT");
}

void AddProcesses(const ClientCommand& client, const std::shared_ptr<Arguments>& arguments) {
  client.command
      ->add_option("--processes,-n", arguments->processes, "on another number of processes; same result")
      ->type_name("N")
      ->check(WholeNumberFrom(1));
}

}  // namespace

void AddCancelCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  const ClientCommand client = AddVerb(
      line, arguments, "cancel", "End jobs for good, with a checkpoint",
      "Workers write a checkpoint and leave; those that do not are signalled, then killed. Returns at\n"
      "once; 'syncbn watch' follows the job to its end. 'syncbn retry' takes it up again.\n\n"
      "  syncbn cancel 17 --reason 'wrong data'",
      [](client::Connection& connection, const std::string& job, const Arguments& given) {
        auto request = RequestFor<v1::CancelJobRequest>(job, given);
        request.set_kill(given.kill);
        return connection.Call(&v1::JobService::Stub::CancelJob, request);
      });
  client.command->add_flag("--kill", arguments->kill, "kill its processes at once: no checkpoint");
  AddReason(client, arguments);
}

void AddPauseCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  AddReason(AddVerb(line, arguments, "pause", "Stop jobs with a checkpoint and free their slots",
                    "  syncbn pause 17 --reason 'node2 needs new memory'",
                    [](client::Connection& connection, const std::string& job, const Arguments& given) {
                      return connection.Call(&v1::JobService::Stub::PauseJob,
                                             RequestFor<v1::PauseJobRequest>(job, given));
                    }),
            arguments);
}

void AddResumeCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  const ClientCommand client = AddVerb(
      line, arguments, "resume", "Queue paused jobs again, from their last checkpoint",
      "The number of processes may change: the result, to the last bit, does not.\n\n"
      "  syncbn resume 17 --processes 8",
      [](client::Connection& connection, const std::string& job, const Arguments& given) {
        return connection.Call(&v1::JobService::Stub::ResumeJob,
                               RestartRequest<v1::ResumeJobRequest>(connection, job, given));
      });
  AddReason(client, arguments);
  AddProcesses(client, arguments);
}

void AddRetryCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  const ClientCommand client = AddVerb(
      line, arguments, "retry", "Queue failed or cancelled jobs again, from their last checkpoint",
      "  syncbn retry 17",
      [](client::Connection& connection, const std::string& job, const Arguments& given) {
        return connection.Call(&v1::JobService::Stub::RetryJob,
                               RestartRequest<v1::RetryJobRequest>(connection, job, given));
      });
  AddReason(client, arguments);
  AddProcesses(client, arguments);
}

void AddDeleteCommand(CommandLine& line) {
  auto jobs = std::make_shared<std::vector<std::string>>();
  const ClientCommand client = AddClientCommand(
      line, "delete", "Forget jobs that have ended, with their metrics and logs",
      "What a job wrote into its output folder stays.\n\n  syncbn delete 17");
  client.command->add_option("JOB", *jobs, "their numbers, as in 17 or jobs/17")->required();
  OnRun(client, line, [jobs](client::Connection& connection, const ClientOptions& options) {
    return ForEachJob(*jobs, [&](const std::string& job) {
      v1::DeleteJobRequest request;
      request.set_name(job);
      connection.Call(&v1::JobService::Stub::DeleteJob, request);
      Say(stdout, options.json ? "{\"deleted\":\"%s\"}\n" : "%s deleted\n", job.c_str());
    });
  });
}

}  // namespace syncbn::app
