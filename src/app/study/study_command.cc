#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

#include "app/commands.h"
#include "app/console.h"
#include "app/run/backend_program.h"
#include "app/study/study_arguments.h"
#include "app/study/study_clients.h"
#include "app/study/study_output.h"
#include "app/study/study_plan.h"
#include "app/study/study_run.h"
#include "app/terminal.h"
#include "app/validators.h"
#include "base/error.h"
#include "base/host.h"
#include "base/text.h"
#include "study/plan.h"
#include "study/result_log.h"
#include "study/study_folder.h"

namespace syncbn::app {

int AtOnce(const StudyArguments& arguments, const v1::StudySpec& spec) {
  if (arguments.at_once <= 0) return spec.at_once() > 0 ? spec.at_once() : AvailableCores();
  if (arguments.at_once > 1) {
    for (const std::string& measure : study::AskedMeasures(spec)) {
      if (!study::IsTime(measure)) continue;
      throw Error(ErrorCode::kInvalidArgument,
                  "--at-once " + std::to_string(arguments.at_once) + ": the study asks for " +
                      measure + ", and times of trials that go on side by side are not theirs");
    }
  }
  return arguments.at_once;
}

study::Plan PlanOf(const StudyArguments& arguments) {
  constexpr double kSilently = 10'000;
  study::StudyFile file = study::LoadStudyFile(arguments.study, arguments.sets, arguments.form);
  double runs = static_cast<double>(std::max<size_t>(1, file.tuning_grid.size()));
  for (const study::Axis& axis : file.axes) runs *= static_cast<double>(axis.levels.size());
  if (runs > kSilently) {
    Say(stderr, "%s\n",
        Sentences("note: the axes and the tuning make " + FormatDouble(runs) +
                  " runs, and each is checked as a run file is: some hundreds a second")
            .c_str());
  }
  return study::Plan(std::move(file));
}

namespace {

void AddStudyFile(Command command, StudyArguments& arguments) {
  command->add_option("STUDY.yaml", arguments.study, "the study file")->required();
  command->add_option("--set", arguments.sets, "override a key of the study, e.g. --set seeds=10")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->add_option("--form", arguments.form, "a form of the study: quick, full, ...")
      ->type_name("NAME")
      ->check(NotEmpty());
}

}  // namespace

void AddStudyCommand(CommandLine& line) {
  auto arguments = std::make_shared<StudyArguments>();
  Command study = line.parser.add_subcommand(
      "study", "Many runs of one run file, and what they say: here or on a coordinator");
  study->require_subcommand(1, 1);
  study->footer("What a study file holds: syncbn explain --study");

  Command plan = study.add_subcommand("plan", "Check a study; print its trials, rules and time");
  AddStudyFile(plan, *arguments);
  plan->add_flag("--no-estimate", arguments->no_estimate, "run nothing to estimate the time");
  plan->callback([=] { PrintStudyPlan(PlanOf(*arguments), *arguments); });

  Command run = study.add_subcommand("run", "Run its trials on this machine, and write the report");
  AddStudyFile(run, *arguments);
  run->footer(
      "The folder holds study.yaml and run.yaml (as used), results.jsonl (a trial a line, as soon "
      "as it\n"
      "has ended), rules.jsonl (when claims were written or changed), trials.csv, timings.csv, "
      "report.html,\n"
      "and report.md, which shows figures/*.svg. SIGTERM or Ctrl-C stops; the same command goes "
      "on, and no\n"
      "trial that has ended runs again.");
  run->add_option("--out", arguments->out, "folder of the study (default: studies/NAME)")
      ->type_name("DIR")
      ->check(NotEmpty());
  run->add_option("--at-once", arguments->at_once,
                  "trials at a time (default: at_once of the study, else one a core)")
      ->type_name("N")
      ->check(WholeNumberFrom(1, 1024));
  run->add_option("--backend", arguments->backend, kBackendHelp)->capture_default_str();
  run->add_flag("--retry-failed", arguments->retry_failed, "run trials that have failed once more");
  run->add_flag("--quiet", arguments->quiet, "print the end only");
  run->callback([=, &line] {
    BecomeProgramOf(arguments->backend);
    line.exit_code = RunStudy(*arguments);
  });

  Command overview =
      study.add_subcommand("overview", "One page of several studies: what each claim came to");
  auto folders = std::make_shared<std::vector<std::string>>();
  auto page = std::make_shared<std::string>("studies");
  overview->add_option("DIR", *folders, "folders of studies")->required()->check(NotEmpty());
  overview->add_option("--out", *page, "folder of overview.html and overview.md")
      ->type_name("DIR")
      ->capture_default_str()
      ->check(NotEmpty());
  overview->callback([=] { WriteStudyOverview(*folders, *page); });

  Command report = study.add_subcommand("report", "Write the report of a study's folder anew");
  auto folder = std::make_shared<std::string>();
  report->add_option("DIR", *folder, "folder of the study")->required()->check(NotEmpty());
  report->callback([=] {
    const study::Plan plan(study::LoadStoredStudy(*folder));
    WriteStudyReport(plan, study::ReadResults(std::filesystem::path(*folder) / study::kResultsFile),
                     *folder);
  });

  AddStudySubmit(study, line);
  AddStudyVerbs(study, line);
  AddStudyFetch(study, line);
}

}  // namespace syncbn::app
