#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "app/client_options.h"
#include "app/client_text.h"
#include "app/console.h"
#include "app/exit_code.h"
#include "app/jobs/job_follow.h"
#include "app/jobs/job_text.h"
#include "app/jobs/resource_options.h"
#include "app/run/run_notes.h"
#include "app/terminal.h"
#include "app/validators.h"
#include "base/printable.h"
#include "base/text.h"
#include "config/run_file.h"
#include "coordinator/api_error.h"
#include "coordinator/service/submission.h"

namespace syncbn::app {
namespace {

struct Arguments {
  std::string run_file;
  std::vector<std::string> sets, labels, variables;
  std::string output_folder;
  ResourceOptions resources;
  int processes = 1;
  bool check = false, follow = false;
};

// The run file as it is checked here; what is wrong with it is the coordinator's to tell.
config::CheckedRunFile CheckedOf(const v1::Job& job) {
  const std::vector<std::string> sets(job.overrides().begin(), job.overrides().end());
  return config::CheckRunFile(job.run_file(), job.run_file_name(), sets);
}

// A relative path of what a run reads means the folder in which the submitter stands, not one in
// which a worker happens to start.
void ResolveInputPaths(v1::Job& job) {
  const config::CheckedRunFile checked = CheckedOf(job);
  if (!checked.diagnostics.empty()) return;
  const auto resolve = [&](const std::string& key, const std::filesystem::path& path) {
    if (path.empty() || path.is_absolute()) return;
    const std::string absolute = std::filesystem::absolute(path).lexically_normal().string();
    // A text in JSON is one in YAML, whatever it holds.
    job.add_overrides(key + "=" + nlohmann::json(absolute).dump());
  };
  resolve("data.path", checked.file.spec.data().path());
  resolve("model.init.from", checked.file.spec.model().init().from());
}

// What `syncbn check` notes of it, for whoever does not see a run's first lines.
std::vector<RunNote> NotesOfJob(const v1::Job& job) {
  const config::CheckedRunFile checked = CheckedOf(job);
  if (!checked.diagnostics.empty()) return {};
  return NotesOf(checked.file.spec);
}

v1::CreateJobRequest RequestOf(const Arguments& arguments) {
  v1::CreateJobRequest request;
  request.set_validate_only(arguments.check);
  v1::Job& job = *request.mutable_job();
  const std::string text = config::ReadRunFile(arguments.run_file);
  // It could not even be sent: said as by `syncbn check`.
  if (!IsUtf8(text) || text.empty()) config::ParseRunFile(text, arguments.run_file, arguments.sets);
  job.set_run_file(text);
  job.set_run_file_name(arguments.run_file);
  for (const std::string& set : arguments.sets) job.add_overrides(set);
  ResolveInputPaths(job);
  *job.mutable_labels() = ParseLabels(arguments.labels);
  for (const std::string& variable : arguments.variables) {
    const auto [name, value] = ParsePair(variable, "--env");
    (*job.mutable_environment())[name] = value;
  }
  job.set_output_folder(arguments.output_folder);
  *job.mutable_resources() = arguments.resources.Resources();
  job.mutable_resources()->set_processes(arguments.processes);
  return request;
}

// The coordinator's list of what is wrong with a run file may be cut short on its way. Where the
// check of this program agrees with what came, its list is the whole one.
std::string WholeList(const std::string& told, const v1::Job& job) {
  const config::CheckedRunFile own = CheckedOf(job);
  if (own.diagnostics.empty()) return told;
  const std::string list = own.diagnostics.Format(job.run_file_name());
  // All but the last line, which counts.
  return list.starts_with(told.substr(0, told.rfind('\n') + 1)) ? list : told;
}

v1::Job Create(client::Connection& connection, const v1::CreateJobRequest& request) {
  try {
    return connection.Call(&v1::JobService::Stub::CreateJob, request);
  } catch (const coordinator::ApiError& error) {
    if (error.reason() != "RUN_FILE_INVALID") throw;
    throw coordinator::ApiError(error.code(), error.reason(), WholeList(error.message(), request.job()),
                                error.metadata());
  }
}

int Submit(client::Connection& connection, const ClientOptions& options,
           const Arguments& arguments) {
  const v1::CreateJobRequest request = RequestOf(arguments);
  std::vector<RunNote> notes = NotesOfJob(request.job());
  // Standard output is for the job then.
  if (options.json) std::erase_if(notes, [](const RunNote& note) { return !note.warning; });
  const v1::Job job = Create(connection, request);
  const Terminal terminal = Terminal::Of(stdout);
  if (options.json) {
    Say(stdout, "%s\n", JsonLine(job).c_str());
    PrintNotes(notes);
  } else if (arguments.check) {
    Say(stdout, "%s: would be accepted as %s on %d slots\n", arguments.run_file.c_str(),
        OneLine(job.display_name()).c_str(),
        std::max(1, job.resources().processes()) *
            std::max(1, job.resources().threads_per_process()));
    PrintNotes(notes);
  } else {
    const std::string id = LastPart(job.name());
    Say(stdout, "%s submitted: %s\n", terminal.Paint(job.name(), Tone::kStrong).c_str(),
        OneLine(job.display_name()).c_str());
    PrintNotes(notes);
    if (!arguments.follow) {
      Say(stdout, "To follow it: syncbn watch %s. To end it: syncbn cancel %s.\n", id.c_str(),
          id.c_str());
    }
  }
  std::fflush(stdout);
  if (arguments.check || !arguments.follow) return kSuccess;
  return FollowJob(connection, {.job = job.name(), .json = options.json});
}

}  // namespace

void AddSubmitCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  const ClientCommand client = AddClientCommand(
      line, "submit", "Hand a run file to a coordinator, which queues and runs it",
      "The run file is checked by the coordinator; its mistakes and notes are printed as 'syncbn check'\n"
      "prints them. Processes are no part of the run file: their number does not change the result. A\n"
      "relative data.path is taken from the folder in which you stand.\n"
      "With --follow, Ctrl-C leaves the job running.\n\n"
      "  syncbn submit configs/shapes-demo.yaml --processes 2 --follow\n"
      "  syncbn submit run.yaml --set train.epochs=3 --time-limit 2h --label team=vision\n\n"
      "Exit codes: 0 submitted, or with --follow succeeded; 2 refused; 9 no coordinator answers;\n"
      "with --follow also 10 failed, 11 cancelled, 130 left by Ctrl-C.");
  Command command = client.command;
  command->add_option("RUN.yaml", arguments->run_file, "the run file")->required();
  const auto list = [&](const char* name, std::vector<std::string>& target, const char* help,
                        const char* type) {
    return command->add_option(name, target, help)->type_name(type)->allow_extra_args(false);
  };
  list("--set", arguments->sets, "override a key, e.g. --set train.epochs=3", "KEY=VALUE");
  command->add_flag("--follow", arguments->follow, "follow the job until it ends");
  command->add_flag("--check", arguments->check, "check everything, submit nothing");
  list("--label", arguments->labels, "label to find it by, e.g. --label team=vision", "KEY=VALUE");
  command->add_option("--output-folder", arguments->output_folder,
                      "where the run writes, below the server's output root\n(default: a folder named after the job)")
      ->type_name("DIR");
  list("--env", arguments->variables, "a variable for the workers, if the server allows it", "NAME=VALUE");

  command
      ->add_option("--processes,-n", arguments->processes,
                   "processes, 1 to the run file's replicas")
      ->type_name("N")
      ->capture_default_str()
      ->check(WholeNumberFrom(1))
      ->group("Resources");
  arguments->resources.AddTo(command, "the job");
  OnRun(client, line, [=](client::Connection& connection, const ClientOptions& options) {
    return Submit(connection, options, *arguments);
  });
}

}  // namespace syncbn::app
