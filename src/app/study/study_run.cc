#include "app/study/study_run.h"

#include <chrono>
#include <cmath>
#include <stop_token>

#include "app/console.h"
#include "app/exit_code.h"
#include "app/run/signals.h"
#include "app/study/mpirun_trial.h"
#include "app/study/study_output.h"
#include "app/study/trial_runner.h"
#include "app/terminal.h"
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

// Of a trial that did not finish: what fits on its line. What a run says to do about it is of a run
// with a folder of its own, which a trial has not.
std::string ShortReason(const std::string& reason) {
  constexpr size_t kMost = 60;
  std::string text = reason.substr(0, reason.find('\n'));
  text = text.substr(0, text.find(": is train."));
  size_t end = 0, characters = 0;
  while (end < text.size() && characters < kMost) {
    end += std::max<size_t>(1, Utf8CharacterLength(std::string_view(text).substr(end)));
    ++characters;
  }
  return end < text.size() ? text.substr(0, end) + "..." : text;
}

std::string LineOf(const study::Plan& plan, const study::TrialResult& one) {
  std::string text = plan.Describe(plan.cells()[one.trial.cell]);
  if (!text.empty()) text += ", ";
  text += "seed " + std::to_string(one.trial.seed);
  if (one.trial.tuned) {
    text += ", " + plan.file().spec.tune().path() + " " + FormatDouble(*one.trial.tuned);
  }
  const study::TrialRecord& record = *one.record;
  if (record.end != study::TrialEnd::kFinished) {
    return text + ": " + study::TrialEndName(record.end) + ": " + ShortReason(record.reason);
  }
  const double accuracy = study::MeasureOf("test_accuracy", record, plan.file().spec, {});
  const auto seconds = record.timings.find("seconds");
  const std::string result = std::isnan(accuracy) ? "" : Format("%.2f %% after ", 100 * accuracy);
  return text + ": " + result + Plural(record.steps, "step") +
         (seconds != record.timings.end() ? Format(", %.1f s", seconds->second) : "");
}

}  // namespace

int RunStudy(const StudyArguments& arguments) {
  const study::Plan plan(study::LoadStudyFile(arguments.study, arguments.sets, arguments.form));
  const int at_once = AtOnce(arguments, plan.file().spec);
  if (const std::string missing = MissingForTrials(plan); !missing.empty()) {
    throw Error(ErrorCode::kNotFound, missing);
  }
  const fs::path folder = StudyFolder(arguments, plan.file());
  PrepareStudyFolder(folder, plan.file());
  study::ResultLog log(folder / study::kResultsFile);
  RemoveLeftTrials(folder);
  LocalTrialRunner runner(arguments.backend, folder);
  if (const size_t others = log.KeepOnly(runner.by()); others > 0) {
    const std::string count = Plural(static_cast<long long>(others), "result");
    Say(stdout, "%s\n",
        Sentences(count + " of another program or back end: not counted, and run again where they "
                          "are of this study")
            .c_str());
  }
  if (arguments.retry_failed) log.DropFailed();
  study::NoteRules(folder / study::kRulesFile, plan.file().spec,
                   static_cast<int64_t>(log.results().size()), UtcNow());
  KeepStudy(folder, arguments, plan.file());
  std::stop_source stop;
  SignalRequests signals(kStopHeard);
  LiveLine live(stdout, !arguments.quiet);
  const auto start = std::chrono::steady_clock::now();
  const bool complete = study::Execute(
      plan, log, runner,
      {.at_once = at_once,
       .stop = stop.get_token(),
       .on_progress = [&](const study::Progress& progress, const study::TrialResult* ended) {
         if (signals.Take().stop) stop.request_stop();
         const std::string count =
             std::to_string(progress.done) + "/" + std::to_string(progress.known);
         if (ended != nullptr && !arguments.quiet) {
           live.Print(Sentences(count + "  " + LineOf(plan, *ended)));
         }
         const double seconds =
             std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
         const double share = static_cast<double>(progress.done) /
                              static_cast<double>(std::max<int64_t>(1, progress.known));
         std::string text = ProgressBar(share, 24) + " " + count + ", " +
                            std::to_string(progress.running) + " running";
         if (progress.ran > 0) {
           text += ", " +
                   FormatDuration(seconds / static_cast<double>(progress.ran) *
                                  static_cast<double>(progress.known - progress.done)) +
                   " to go";
         }
         live.Update(text);
       }});
  live.Clear();
  WriteStudyReport(plan, log.results(), folder);
  if (complete) return kSuccess;
  Say(stdout, "stopped; the same command goes on\n");
  return kStopped;
}

}  // namespace syncbn::app
