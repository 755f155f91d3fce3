#include <cstdio>
#include <filesystem>

#include "app/client_text.h"
#include "app/console.h"
#include "app/exit_code.h"
#include "app/jobs/resource_options.h"
#include "app/study/study_clients.h"
#include "app/terminal.h"
#include "app/validators.h"
#include "base/printable.h"
#include "base/text.h"
#include "coordinator/study/study_submission.h"
#include "study/study_file.h"

namespace syncbn::app {
namespace {

struct Arguments {
  std::string study, form;
  std::vector<std::string> sets, labels;
  ResourceOptions resources;
  int at_once = 0;
  bool check = false, wait = false;
};

v1::CreateStudyRequest RequestOf(const Arguments& arguments) {
  // What it names is read here, and what is wrong with it is said as by `syncbn study plan`; what
  // is wrong with the runs that it makes is the coordinator's to tell.
  const study::StudyFile file =
      study::LoadStudyFile(arguments.study, arguments.sets, arguments.form);
  v1::CreateStudyRequest request;
  request.set_validate_only(arguments.check);
  v1::Study& study = *request.mutable_study();
  study.set_study_file(file.source->text());
  study.set_study_file_name(arguments.study);
  if (!file.spec.run().starts_with('{')) {
    study.set_run_file(file.run_text);
    study.set_run_file_name(file.run_name);
  }
  for (const std::string& set : arguments.sets) study.add_overrides(set);
  study.set_form(arguments.form);
  study.set_at_once(arguments.at_once);
  *study.mutable_resources() = arguments.resources.Resources();
  *study.mutable_labels() = ParseLabels(arguments.labels);
  study.set_data_folder(std::filesystem::current_path().string());
  return request;
}

int Submit(client::Connection& connection, const ClientOptions& options,
           const Arguments& arguments) {
  const v1::Study study =
      connection.Call(&v1::StudyService::Stub::CreateStudy, RequestOf(arguments));
  const std::string name = OneLine(study.display_name()), id = LastPart(study.name());
  if (options.json && !arguments.wait) {
    Say(stdout, "%s\n", JsonLine(study).c_str());
  } else if (arguments.check) {
    Say(stdout, "%s: would be accepted as %s, %s at once\n", arguments.study.c_str(), name.c_str(),
        Plural(study.at_once(), "process").c_str());
  } else if (!options.json) {
    Say(stdout, "%s submitted: %s\n",
        Terminal::Of(stdout).Paint(study.name(), Tone::kStrong).c_str(), name.c_str());
    if (!arguments.wait) {
      Say(stdout, "To look at it: syncbn study show %s. To end it: syncbn study cancel %s.\n",
          id.c_str(), id.c_str());
    }
  }
  if (!options.json) {
    for (const std::string& note : study.notes()) {
      Say(stdout, "%s\n", Sentences("note: " + OneLine(note)).c_str());
    }
  }
  std::fflush(stdout);
  if (arguments.check || !arguments.wait) return kSuccess;
  return FollowStudy(connection, study.name(), options.json);
}

}  // namespace

void AddStudySubmit(Command study, CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  const ClientCommand client = AddClientCommand(
      study, "submit", "Hand a study to a coordinator, which runs its trials as jobs",
      "Trials are jobs with the labels study, trial and seed, and one for each axis; they wait in "
      "the "
      "queue\n"
      "with all others. A trial that has a result is never run again, whatever becomes of the\n"
      "coordinator, and one that fails or diverges is a result. A relative data.path is taken from "
      "the\n"
      "folder in which you stand. With --wait, Ctrl-C leaves the study running.\n\n"
      "  syncbn study submit configs/studies/batch-size.yaml --form quick --wait\n"
      "  syncbn study submit study.yaml --at-once 8 --priority -5 --label team=vision\n\n"
      "Exit codes: 0 submitted, or with --wait succeeded; 2 refused; 9 no coordinator answers;\n"
      "with --wait also 10 failed, 11 cancelled or deleted, 130 left by Ctrl-C.");
  Command command = client.command;
  command->add_option("STUDY.yaml", arguments->study, "the study file")->required();
  const auto list = [&](const char* name, std::vector<std::string>& target, const char* help) {
    command->add_option(name, target, help)->type_name("KEY=VALUE")->allow_extra_args(false);
  };
  list("--set", arguments->sets, "override a key of the study, e.g. --set seeds=10");
  command->add_option("--form", arguments->form, "a form of the study: quick, full, ...")
      ->type_name("NAME")
      ->check(NotEmpty());
  command->add_flag("--wait", arguments->wait, "follow the study until it ends");
  command->add_flag("--check", arguments->check, "check everything, submit nothing");
  command
      ->add_option("--at-once", arguments->at_once,
                   "processes of trials under way at a time (default: at_once of the\nstudy, else "
                   "as many as the cluster has slots for, up to 256)")
      ->type_name("N")
      ->check(WholeNumberFrom(1, coordinator::kMostAtOnce));
  list("--label", arguments->labels, "label of its jobs, e.g. --label team=vision");
  arguments->resources.AddTo(command, "a trial");
  OnRun(client, line, [=](client::Connection& connection, const ClientOptions& options) {
    return Submit(connection, options, *arguments);
  });
}

}  // namespace syncbn::app
