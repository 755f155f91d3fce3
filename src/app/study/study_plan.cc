#include "app/study/study_plan.h"

#include <algorithm>
#include <cmath>

#include "app/console.h"
#include "app/study/mpirun_trial.h"
#include "app/study/trial_runner.h"
#include "app/table.h"
#include "app/terminal.h"
#include "base/host.h"
#include "base/text.h"
#include "data/batch_plan.h"
#include "study/cell_figure.h"
#include "study/claims.h"

namespace syncbn::app {
namespace {

std::string Count(size_t count, const char* word) {
  return Plural(static_cast<long long>(count), word);
}

// Samples that a run trains on, of so many training samples.
double TrainedSamples(const v1::RunSpec& run, int64_t images) {
  const double by_epochs = run.train().epochs() * static_cast<double>(images);
  const auto by_steps =
      static_cast<double>(run.train().max_steps() * data::SgdBatch(run.cluster()));
  return by_steps > 0 ? std::min(by_steps, by_epochs) : by_epochs;
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

void PrintSentences(const std::string& text, int indent = 0) {
  Say(stdout, "%s\n", Sentences(text, indent).c_str());
}

void PrintSize(const study::StudyFile& file, size_t cells) {
  std::string text = file.spec.name();
  if (!file.form.empty()) text += ", form " + file.form;
  text += ": " + Count(cells, "cell");
  std::vector<std::string> parts;
  for (const study::Axis& axis : file.axes) {
    parts.push_back(std::to_string(axis.levels.size()) + " of " + axis.name);
  }
  if (!parts.empty()) text += " (" + Join(parts, " x ") + ")";
  PrintSentences(text + ", " + Count(file.seeds.size(), "seed") +
                 " each: " + Count(cells * file.seeds.size(), "trial"));
  if (!file.spec.question().empty()) PrintSentences(file.spec.question());
}

void PrintTuning(const study::Plan& plan) {
  const v1::TuneSpec& tune = plan.file().spec.tune();
  if (plan.file().tuning_grid.empty()) return;
  PrintSentences(tune.path() + " is tuned first by " + tune.measure() + ": " +
                 Count(plan.file().tuning_grid.size(), "value") + " for each cell, " +
                 Count(plan.FirstTrials().size(), "trial") + " with seed " +
                 std::to_string(tune.seed()) + "; up to " + std::to_string(tune.widen()) +
                 " more on each side");
  if (tune.halving().rungs_size() == 0) return;
  std::vector<std::string> rungs;
  for (const double rung : tune.halving().rungs()) rungs.push_back(FormatDouble(rung));
  PrintSentences("at " + Join(rungs, ", ") + " of a run the better ones go on: " +
                     FormatDouble(tune.halving().keep()) + " of the values",
                 2);
}

void PrintCells(const study::Plan& plan) {
  if (plan.file().axes.empty()) return;
  constexpr size_t kShown = 40;
  Table table({{.header = "cell"}, {.header = "settings", .wraps = true}});
  for (size_t cell = 0; cell < std::min(plan.cells().size(), kShown); ++cell) {
    table.Add({{std::to_string(cell + 1)}, {plan.Describe(plan.cells()[cell])}});
  }
  Say(stdout, "\n%s", table.Render(Terminal::Of(stdout)).c_str());
  if (plan.cells().size() > kShown) Say(stdout, "and %zu more\n", plan.cells().size() - kShown);
}

std::string TargetText(const v1::TargetSpec& target) {
  const std::string metric = target.metric() == v1::TARGET_METRIC_TEST_LOSS    ? "test loss"
                             : target.metric() == v1::TARGET_METRIC_TRAIN_LOSS ? "training loss"
                                                                               : "test accuracy";
  if (target.has_at_least()) return metric + " of at least " + FormatDouble(target.at_least());
  if (target.has_at_most()) return metric + " of at most " + FormatDouble(target.at_most());
  std::vector<std::string> arm;
  for (const v1::SettingSpec& one : target.share_of_best().arm()) {
    arm.push_back(one.path() + " " + one.value());
  }
  return metric + " of at least " + FormatDouble(target.share_of_best().share()) +
         " of the mean best of " + (arm.empty() ? "all trials" : Join(arm, ", "));
}

void PrintQuestions(const study::StudyFile& file) {
  for (const v1::TargetSpec& target : file.spec.targets()) {
    Say(stdout, "\n");
    PrintSentences("target " + target.name() + ": " + TargetText(target));
  }
  if (file.no_verdicts && file.spec.claims_size() > 0) {
    Say(stdout, "\n");
    return PrintSentences("this form gives no verdicts on the " +
                          Plural(file.spec.claims_size(), "claim") + " of the study");
  }
  for (const v1::ClaimSpec& claim : file.spec.claims()) {
    const std::string control =
        claim.control() == v1::OUTCOME_SUPPORTED ? "control, must be supported: "
        : claim.control() == v1::OUTCOME_REFUTED ? "control, must be refuted: "
                                                 : "";
    Say(stdout, "\n");
    PrintSentences(control + claim.text());
    PrintSentences(study::FigureText(claim), 2);
    PrintSentences(study::RuleText(claim), 2);
  }
}

void PrintEstimate(const study::Plan& plan, const StudyArguments& arguments) {
  // An evaluation is a forward pass, about a third of a training pass.
  constexpr double kForward = 1.0 / 3;
  const study::StudyFile& file = plan.file();
  const bool tunes = !file.tuning_grid.empty();
  LocalTrialRunner runner(arguments.backend, ".", AtOnce(arguments, file.spec));
  double seconds = 0;
  bool probes = false, starts = false;
  const std::vector<size_t> chosen = Calibrated(plan.cells().size());
  for (const size_t cell : chosen) {
    study::Trial trial = plan.TrialsOf(cell, std::nullopt).front();
    if (tunes) trial.tuned = file.tuning_grid.front();
    const v1::RunSpec run = plan.RunOf(trial);
    const auto images = runner.ImagesOf(run);
    const double trained = TrainedSamples(run, images.training);
    const double every = run.train().evaluate().every_epochs();
    const double epochs = trained / static_cast<double>(std::max<int64_t>(1, images.training));
    const double evaluations = every > 0 ? std::max(1.0, epochs / every) : 1;
    const double evaluated = evaluations * static_cast<double>(images.test) *
                             run.train().evaluate().with_size() * kForward;
    seconds += runner.SecondsPerSample(run) * (trained + evaluated);
    const auto steps = trained / static_cast<double>(data::SgdBatch(run.cluster()));
    if (const double more = runner.ProbeSeconds(run, std::llround(steps)); more > 0) {
      seconds += more;
      probes = true;
    }
    if (const double start = runner.StartSeconds(run, plan.ProcessesOf(trial)); start > 0) {
      seconds += start;
      starts = true;
    }
  }
  const size_t judged = plan.cells().size() * file.seeds.size();
  const double share = static_cast<double>(plan.FirstTrials().size() + (tunes ? judged : 0)) /
                       static_cast<double>(chosen.size());
  const int at_once = AtOnce(arguments, file.spec), cores = AvailableCores();
  Say(stdout, "\n");
  PrintSentences(
      "about " + FormatDuration(seconds * share / std::min(at_once, cores)) + " on this machine, " +
      Plural(at_once, "trial") + " at once" +
      (at_once > cores ? " on " + Plural(cores, "core") : "") + " (by a few steps of " +
      Count(chosen.size(), "cell") + (probes ? " and a figure of each probe" : "") +
      (starts ? " and starts of mpirun" : "") +
      (file.spec.tune().halving().rungs_size() > 0 ? ", as if no value were given up" : "") + ")");
}

}  // namespace

void PrintStudyPlan(const study::Plan& plan, const StudyArguments& arguments) {
  PrintSize(plan.file(), plan.cells().size());
  PrintTuning(plan);
  PrintCells(plan);
  PrintQuestions(plan.file());
  if (const std::string missing = MissingForTrials(plan); !missing.empty()) {
    Say(stdout, "\n");
    PrintSentences(missing);
  }
  if (!arguments.no_estimate) PrintEstimate(plan, arguments);
}

}  // namespace syncbn::app
