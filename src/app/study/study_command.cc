#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>

#include "app/commands.h"
#include "app/console.h"
#include "app/exit_code.h"
#include "app/run/signals.h"
#include "app/study/trial_runner.h"
#include "app/table.h"
#include "app/terminal.h"
#include "app/validators.h"
#include "app/versions.h"
#include "base/error.h"
#include "base/file.h"
#include "base/host.h"
#include "base/text.h"
#include "study/document/html.h"
#include "study/document/markdown.h"
#include "study/report.h"
#include "study/rule_log.h"
#include "study/study_folder.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string study;
  std::vector<std::string> sets;
  std::string out;
  std::string backend = "cpu";
  int at_once = 0;
  bool quiet = false;
  bool no_estimate = false;
};

constexpr const char* kStopHeard =
    "\nsyncbn: asked to stop: the trials under way are dropped, those that ended are kept; once "
    "more to end "
    "at once\n";

int AtOnce(const Arguments& arguments, const v1::StudySpec& spec) {
  if (arguments.at_once > 0) return arguments.at_once;
  return spec.at_once() > 0 ? spec.at_once() : AvailableCores();
}

int64_t SamplesOf(const v1::RunSpec& run, int64_t images) {
  int64_t batch = 0;
  for (const int64_t one : run.cluster().batch_per_replica()) batch += one;
  if (run.cluster().batch_per_replica_size() == 1) batch *= run.cluster().replicas();
  const int64_t by_epochs =
      static_cast<int64_t>(run.train().epochs() * static_cast<double>(images));
  const int64_t by_steps = run.train().max_steps() * batch;
  return run.train().max_steps() > 0 && (images == 0 || by_steps < by_epochs) ? by_steps
                                                                              : by_epochs;
}

// The cells by which the time is estimated: evenly from all.
std::vector<size_t> Calibrated(size_t cells) {
  constexpr size_t kMost = 6;
  std::vector<size_t> chosen;
  for (size_t i = 0; i < std::min(cells, kMost); ++i) {
    chosen.push_back(cells <= kMost ? i : i * (cells - 1) / (kMost - 1));
  }
  return chosen;
}

void PrintPlan(const study::Plan& plan, const Arguments& arguments) {
  const study::StudyFile& file = plan.file();
  const std::vector<study::Trial> trials = plan.FirstTrials();
  const bool tunes = !file.tuning_grid.empty();
  const size_t judged = plan.cells().size() * file.seeds.size();
  Say(stdout, "%s: %s", file.spec.name().c_str(),
      Plural(static_cast<long long>(plan.cells().size()), "cell").c_str());
  if (!file.axes.empty()) {
    std::vector<std::string> parts;
    for (const study::Axis& axis : file.axes) {
      parts.push_back(std::to_string(axis.levels.size()) + " of " + axis.name);
    }
    Say(stdout, " (%s)", Join(parts, " x ").c_str());
  }
  Say(stdout, ", %s each: %s\n", Plural(static_cast<long long>(file.seeds.size()), "seed").c_str(),
      Plural(static_cast<long long>(judged), "trial").c_str());
  if (tunes) {
    Say(stdout,
        "%s is tuned first: %zu values for each cell, %zu trials; up to %d more on each side\n",
        file.spec.tune().path().c_str(), file.tuning_grid.size(), trials.size(),
        file.spec.tune().widen());
  }
  Table table({{.header = "cell"}, {.header = "settings", .wraps = true}});
  constexpr size_t kShown = 40;
  for (size_t cell = 0; cell < std::min(plan.cells().size(), kShown); ++cell) {
    table.Add({{std::to_string(cell + 1)}, {plan.Describe(plan.cells()[cell])}});
  }
  if (!file.axes.empty()) Say(stdout, "\n%s", table.Render(Terminal::Of(stdout)).c_str());
  if (plan.cells().size() > kShown) {
    Say(stdout, "and %zu more\n", plan.cells().size() - kShown);
  }
  for (const v1::ClaimSpec& claim : file.spec.claims()) {
    Say(stdout, "\n%s\n  %s\n", claim.text().c_str(), study::RuleText(claim).c_str());
  }
  if (arguments.no_estimate) return;
  LocalTrialRunner runner(arguments.backend);
  double seconds = 0;
  const std::vector<size_t> chosen = Calibrated(plan.cells().size());
  for (const size_t cell : chosen) {
    study::Trial trial = plan.TrialsOf(cell, std::nullopt).front();
    if (tunes) trial.tuned = file.tuning_grid.front();
    const v1::RunSpec run = plan.RunOf(trial);
    seconds += runner.SecondsPerSample(run) *
               static_cast<double>(SamplesOf(run, runner.TrainingImages(run)));
  }
  const double share = static_cast<double>(trials.size() + (tunes ? judged : 0)) /
                       static_cast<double>(chosen.size());
  const int at_once = AtOnce(arguments, file.spec);
  Say(stdout,
      "\nabout %s on this machine, %s at once (by a few steps of %s, without evaluations)\n",
      FormatDuration(seconds * share / at_once).c_str(), Plural(at_once, "trial").c_str(),
      Plural(static_cast<long long>(chosen.size()), "cell").c_str());
}

fs::path FolderOf(const Arguments& arguments, const v1::StudySpec& spec) {
  return arguments.out.empty() ? fs::path("studies") / spec.name() : fs::path(arguments.out);
}

// RFC 3339.
std::string UtcNow() {
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return date;
}

std::vector<std::string> Subtitle() {
  return {HostName() + ", " + Plural(AvailableCores(), "core") + "; " + UtcNow().substr(0, 10),
          "syncbn " + ProgramVersion()};
}

void WriteReport(const study::Plan& plan, const std::map<std::string, study::TrialRecord>& results,
                 const fs::path& folder) {
  const study::Outlook outlook(plan, results);
  study::document::Document report = study::MakeReport(plan, outlook, Subtitle());
  const std::string remark = study::RulesRemark(study::ReadRules(folder / study::kRulesFile));
  if (!remark.empty() && !plan.file().spec.claims().empty()) report.answer.push_back(remark);
  WriteFileAtomically(folder / "trials.csv", study::TrialsCsv(plan, outlook));
  WriteFileAtomically(folder / "timings.csv", study::TimingsCsv(plan, outlook));
  WriteFileAtomically(folder / "report.md", study::document::Markdown(report));
  WriteFileAtomically(folder / "report.html", study::document::Html(report));
  for (const std::string& sentence : report.answer) Say(stdout, "%s\n", sentence.c_str());
  Say(stdout, "report: %s, report.md, trials.csv, timings.csv\n",
      (folder / "report.html").string().c_str());
}

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
  const study::Measures measures = study::MeasuresOf(record, plan.file().spec);
  const auto seconds = record.timings.find("seconds");
  return text +
         Format(": %.2f %% after %lld steps", 100 * measures.at("test_accuracy"),
                static_cast<long long>(record.steps)) +
         (seconds != record.timings.end() ? Format(", %.1f s", seconds->second) : "");
}

std::string Lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

// Makes the folder, or refuses one that holds something else: nothing of it would be spared.
void PrepareFolder(const fs::path& folder) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (fs::exists(status) && !fs::is_directory(status)) {
    throw Error(ErrorCode::kInvalidArgument,
                folder.string() + " is not a folder; give another with --out");
  }
  if (fs::create_directories(folder, error); error) {
    errno = error.value();
    ThrowErrno("make the folder", folder);
  }
  const bool empty = fs::is_empty(folder, error);
  const bool study = !error && (empty || fs::exists(folder / study::kResultsFile, error));
  if (error) {
    errno = error.value();
    ThrowErrno("read the folder", folder);
  }
  if (study) return;
  throw Error(ErrorCode::kInvalidArgument,
              folder.string() + " holds files that are not of a study (there is no " +
                  study::kResultsFile + "); give another folder with --out, or empty it");
}

int RunStudy(const Arguments& arguments) {
  const study::Plan plan(study::LoadStudyFile(arguments.study, arguments.sets));
  const fs::path folder = FolderOf(arguments, plan.file().spec);
  PrepareFolder(folder);
  study::ResultLog log(folder / study::kResultsFile);
  LocalTrialRunner runner(arguments.backend);
  if (const size_t others = log.KeepOnly(runner.by()); others > 0) {
    Say(stdout,
        "%s of another program or back end: not counted, and run again where they are of this "
        "study\n",
        Plural(static_cast<long long>(others), "result").c_str());
  }
  study::NoteRules(folder / study::kRulesFile, plan.file().spec,
                   static_cast<int64_t>(log.results().size()), UtcNow());
  // As they were used: a report is made of them.
  WriteFileAtomically(folder / study::kRunFile, plan.file().run_text);
  WriteFileAtomically(folder / study::kStudyFile, plan.file().source->text());
  WriteFileAtomically(folder / study::kOverridesFile, Lines(arguments.sets));
  std::stop_source stop;
  SignalRequests signals(kStopHeard);
  LiveLine live(stdout, !arguments.quiet);
  const auto start = std::chrono::steady_clock::now();
  const bool complete = study::Execute(
      plan, log, runner,
      {.at_once = AtOnce(arguments, plan.file().spec),
       .stop = stop.get_token(),
       .on_progress = [&](const study::Progress& progress, const study::TrialResult* ended) {
         if (signals.Take().stop) stop.request_stop();
         const std::string count =
             std::to_string(progress.done) + "/" + std::to_string(progress.known);
         if (ended != nullptr && !arguments.quiet) live.Print(count + "  " + LineOf(plan, *ended));
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
  WriteReport(plan, log.results(), folder);
  if (complete) return kSuccess;
  Say(stdout, "stopped; the same command goes on\n");
  return kStopped;
}

void MakeReportOf(const std::string& folder) {
  const study::Plan plan(study::LoadStoredStudy(folder));
  WriteReport(plan, study::ReadResults(fs::path(folder) / study::kResultsFile), folder);
}

void AddStudyFile(Command command, Arguments& arguments) {
  command->add_option("STUDY.yaml", arguments.study, "the study file")->required();
  command->add_option("--set", arguments.sets, "override a key of the study, e.g. --set seeds=10")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
}

}  // namespace

void AddStudyCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  Command study = line.parser.add_subcommand(
      "study", "Many runs of one run file, and what they say: plan, run, report");
  study->require_subcommand(1, 1);
  study->footer("What a study file holds: syncbn explain --study");

  Command plan = study.add_subcommand("plan", "Check a study; print its trials, rules and time");
  AddStudyFile(plan, *arguments);
  plan->add_flag("--no-estimate", arguments->no_estimate, "run nothing to estimate the time");
  plan->callback([=] {
    PrintPlan(study::Plan(study::LoadStudyFile(arguments->study, arguments->sets)), *arguments);
  });

  Command run = study.add_subcommand("run", "Run its trials on this machine, and write the report");
  AddStudyFile(run, *arguments);
  run->footer(
      "The folder holds study.yaml and run.yaml (as used), results.jsonl (a trial a line, as soon "
      "as it\n"
      "has ended), rules.jsonl (when claims were written or changed), trials.csv, timings.csv, "
      "report.html\n"
      "and report.md. SIGTERM or Ctrl-C stops; the same command goes on, and no trial that has "
      "ended runs\n"
      "again.");
  run->add_option("--out", arguments->out, "folder of the study (default: studies/NAME)")
      ->type_name("DIR")
      ->check(NotEmpty());
  run->add_option("--at-once", arguments->at_once,
                  "trials at a time (default: at_once of the study, else one a core)")
      ->type_name("N")
      ->check(WholeNumberFrom(1, 1024));
  run->add_option("--backend", arguments->backend, "cpu, or reference (double, slow)")
      ->capture_default_str();
  run->add_flag("--quiet", arguments->quiet, "print the end only");
  run->callback([=, &line] { line.exit_code = RunStudy(*arguments); });

  Command report = study.add_subcommand("report", "Write the report of a study's folder anew");
  auto folder = std::make_shared<std::string>();
  report->add_option("DIR", *folder, "folder of the study")->required();
  report->callback([=] { MakeReportOf(*folder); });
}

}  // namespace syncbn::app
