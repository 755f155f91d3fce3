#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/client_options.h"
#include "app/client_text.h"
#include "app/exit_code.h"
#include "app/jobs/job_text.h"
#include "app/jobs/log_reader.h"
#include "app/terminal.h"
#include "app/validators.h"
#include "base/printable.h"
#include "base/text.h"
#include "client/watches.h"

namespace syncbn::app {
namespace {

struct Arguments {
  std::string job;
  int attempt = 0;
  int rank = 0;
  int64_t tail = 0;
  bool has_rank = false, has_tail = false, follow = false, supervisor = false;
};

v1::Job GetJob(client::Connection& connection, const std::string& name) {
  v1::GetJobRequest request;
  request.set_name(name);
  request.set_view(v1::JOB_VIEW_BASIC);
  return connection.Call(&v1::JobService::Stub::GetJob, request);
}

class Logs {
 public:
  Logs(client::Connection& connection, const ClientOptions& options, const Arguments& arguments)
      : connection_(connection), options_(options), arguments_(arguments),
        job_(JobNameOf(arguments.job)) {}

  int Run() {
    if (!arguments_.follow) return ReadOnce();
    InterruptFlag interrupt;
    int attempt = arguments_.attempt;
    if (attempt == 0) attempt = WaitForAttempt(1, interrupt);
    bool first = true;
    while (attempt > 0) {
      const int64_t offset = first && arguments_.has_tail ? PrintTail(attempt) : 0;
      if (!Follow(attempt, offset, interrupt)) return kInterrupted;
      first = false;
      // An attempt that was asked for is all; otherwise the job's next start follows.
      if (arguments_.attempt > 0) return kSuccess;
      attempt = WaitForAttempt(attempt + 1, interrupt);
    }
    return interrupt.raised() ? kInterrupted : kSuccess;
  }

 private:
  std::string NameOf(int attempt) const {
    return job_ + "/attempts/" + std::to_string(attempt) + "/logs/" +
           (arguments_.supervisor ? "supervisor" : "output");
  }
  LogQuery QueryOf(int attempt) const {
    LogQuery query{.name = NameOf(attempt)};
    if (arguments_.has_rank) query.rank = arguments_.rank;
    return query;
  }

  int ReadOnce() {
    int attempt = arguments_.attempt;
    if (attempt == 0) {
      const v1::Job job = GetJob(connection_, job_);
      attempt = job.attempt();
      if (attempt == 0) {
        const std::string note = NoteOf(job, Clock::System().Now());
        Say(stderr, "%s has not started yet: it is %s%s%s\n", job_.c_str(),
            StateName(job.state()).c_str(), note.empty() ? "" : ", ", note.c_str());
        return kSuccess;
      }
    }
    if (arguments_.has_tail) {
      PrintTail(attempt);
    } else {
      ReadLog(connection_, QueryOf(attempt), 0,
              [this](const v1::LogChunk& chunk) { Print(chunk.data(), chunk.next_offset()); });
    }
    return kSuccess;
  }

  // Returns where to go on.
  int64_t PrintTail(int attempt) {
    const LogTail tail = ReadTail(connection_, QueryOf(attempt), arguments_.tail);
    Print(tail.text, tail.end);
    return tail.end;
  }

  void Print(const std::string& text, int64_t next_offset) {
    if (text.empty()) return;
    if (options_.json) {
      nlohmann::json line = {{"text", text}, {"next_offset", next_offset}};
      // What is not UTF-8 is shown as such, as in any JSON.
      Say(stdout, "%s\n",
          PrintableJson(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace))
              .c_str());
    } else {
      SayExactly(text);
    }
    std::fflush(stdout);
  }

  // False when interrupted.
  bool Follow(int attempt, int64_t offset, const InterruptFlag& interrupt) {
    v1::FollowLogRequest request;
    request.set_name(NameOf(attempt));
    request.set_offset(offset);
    if (arguments_.has_rank) request.set_rank(arguments_.rank);
    const auto events = client::FollowLog(connection_, request);
    while (!events->AtEnd()) {
      if (interrupt.raised()) return false;
      const auto event = events->Next(std::chrono::milliseconds(200));
      if (event && event->has_chunk()) {
        Print(event->chunk().data(), event->chunk().next_offset());
        if (event->chunk().end()) return true;
      }
    }
    return true;
  }

  // Its number as soon as the job has an attempt `least` or later; 0 when the job ends without.
  int WaitForAttempt(int least, const InterruptFlag& interrupt) {
    v1::WatchJobsRequest request;
    request.set_job(job_);
    const auto events = client::WatchJobs(connection_, request);
    while (!interrupt.raised()) {
      const auto event = events->Next(std::chrono::milliseconds(200));
      if (!event) continue;
      if (event->event_case() == v1::WatchJobsResponse::kDeleted) return 0;
      const bool has_job = event->has_snapshot() || event->has_change();
      if (!has_job) continue;
      const v1::Job& job = event->has_snapshot() ? event->snapshot() : event->change().job();
      if (job.attempt() >= least) return least == 1 ? job.attempt() : least;
      if (HasEnded(job.state())) return 0;
    }
    return 0;
  }

  client::Connection& connection_;
  const ClientOptions& options_;
  const Arguments& arguments_;
  const std::string job_;
};

}  // namespace

void AddLogsCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  const ClientCommand client = AddClientCommand(
      line, "logs", "Print what the processes of a job have printed",
      "Each line is led by its rank, and by '-' where the launcher itself speaks. With --follow the\n"
      "command goes on until the job has ended, through its restarts; Ctrl-C ends only the command.\n\n"
      "  syncbn logs 17 --tail 20 --follow\n"
      "  syncbn logs 17 --attempt 1 --rank 3");
  Command command = client.command;
  command->add_option("JOB", arguments->job, "its number, as in 17 or jobs/17")->required();
  command->add_flag("--follow,-f", arguments->follow, "print what is added, too");
  command->add_option("--tail", arguments->tail, "begin N lines before the end")
      ->type_name("N")
      ->check(WholeNumberFrom(0, kAnyWhole));
  command->add_option("--attempt", arguments->attempt, "of this start of the job (default: the newest)")
      ->type_name("N")
      ->check(WholeNumberFrom(1));
  command->add_option("--rank", arguments->rank, "only lines of this rank")
                          ->type_name("N")
                          ->check(WholeNumberFrom(0));
  command->add_flag("--supervisor", arguments->supervisor,
                    "what the attempt's supervisor did, instead");
  OnRun(client, line, [=](client::Connection& connection, const ClientOptions& options) {
    RequireOneOf(command, {"--rank", "--supervisor"});
    arguments->has_rank = command->count("--rank") > 0;
    arguments->has_tail = command->count("--tail") > 0;
    return Logs(connection, options, *arguments).Run();
  });
}

}  // namespace syncbn::app
