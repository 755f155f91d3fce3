#include "app/study/study_run.h"

#include <stop_token>

#include "app/console.h"
#include "app/exit_code.h"
#include "app/run/signals.h"
#include "app/study/mpirun_trial.h"
#include "app/study/study_output.h"
#include "app/study/study_progress.h"
#include "app/study/trial_runner.h"
#include "app/terminal.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "study/executor.h"
#include "study/rule_log.h"
#include "study/study_folder.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStopHeard =
    "\nsyncbn: asked to stop: the trials under way are dropped, those that ended are kept;\n"
    "once more to end at once\n";

}  // namespace

int RunStudy(const StudyArguments& arguments) {
  const study::Plan plan = PlanOf(arguments);
  const int at_once = AtOnce(arguments, plan.file().spec);
  if (const std::string missing = MissingForTrials(plan); !missing.empty()) {
    throw Error(ErrorCode::kNotFound, missing);
  }
  const fs::path folder = StudyFolder(arguments, plan.file());
  PrepareStudyFolder(folder, plan.file());
  study::ResultLog log(folder / study::kResultsFile);
  RemoveLeftTrials(folder);
  LocalTrialRunner runner(arguments.backend, folder, at_once);
  if (const size_t others = log.KeepOnly(runner.by()); others > 0) {
    const std::string count = Plural(static_cast<long long>(others), "result");
    Say(stdout, "%s\n",
        Sentences(count + " of another program or back end: not counted, and run again where they "
                          "are of this study")
            .c_str());
  }
  if (arguments.retry_failed) log.DropFailed();
  study::NoteRules(folder / study::kRulesFile, plan.file().spec,
                   static_cast<int64_t>(log.results().size()), FormatTime(Clock::System().Now()));
  study::StoreStudy(folder, plan.file(), arguments.sets);
  std::stop_source stop;
  SignalRequests signals(kStopHeard);
  StudyProgress progress(plan, log.results(), arguments.quiet);
  const bool complete = study::Execute(
      plan, log, runner,
      {.at_once = at_once,
       .stop = stop.get_token(),
       .on_progress = [&](const study::Progress& count, const study::TrialResult* ended) {
         if (signals.Take().stop) stop.request_stop();
         progress.Show(count, ended);
       }});
  progress.Clear();
  WriteStudyReport(plan, log.results(), folder);
  if (complete) return kSuccess;
  Say(stdout, "stopped; the same command goes on\n");
  return kStopped;
}

}  // namespace syncbn::app
