#include "app/study/study_plan.h"

#include <algorithm>

#include "app/console.h"
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

void PrintSize(const study::StudyFile& file, size_t cells) {
  Say(stdout, "%s%s: %s", file.spec.name().c_str(),
      file.form.empty() ? "" : (", form " + file.form).c_str(), Count(cells, "cell").c_str());
  if (!file.axes.empty()) {
    std::vector<std::string> parts;
    for (const study::Axis& axis : file.axes) {
      parts.push_back(std::to_string(axis.levels.size()) + " of " + axis.name);
    }
    Say(stdout, " (%s)", Join(parts, " x ").c_str());
  }
  Say(stdout, ", %s each: %s\n", Count(file.seeds.size(), "seed").c_str(),
      Count(cells * file.seeds.size(), "trial").c_str());
  if (!file.spec.question().empty()) Say(stdout, "%s\n", file.spec.question().c_str());
}

void PrintTuning(const study::Plan& plan) {
  const v1::TuneSpec& tune = plan.file().spec.tune();
  if (plan.file().tuning_grid.empty()) return;
  Say(stdout,
      "%s is tuned first by %s: %zu values for each cell, %zu trials with seed %llu; up to %d more "
      "on "
      "each side\n",
      tune.path().c_str(), tune.measure().c_str(), plan.file().tuning_grid.size(),
      plan.FirstTrials().size(), static_cast<unsigned long long>(tune.seed()), tune.widen());
  if (tune.halving().rungs_size() == 0) return;
  std::vector<std::string> rungs;
  for (const double rung : tune.halving().rungs()) rungs.push_back(FormatDouble(rung));
  Say(stdout, "  at %s of a run the better ones go on: %s of the values\n",
      Join(rungs, ", ").c_str(), FormatDouble(tune.halving().keep()).c_str());
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
    Say(stdout, "\ntarget %s: %s\n", target.name().c_str(), TargetText(target).c_str());
  }
  if (file.no_verdicts && file.spec.claims_size() > 0) {
    Say(stdout, "\nthis form gives no verdicts on the %s of the study\n",
        Plural(file.spec.claims_size(), "claim").c_str());
    return;
  }
  for (const v1::ClaimSpec& claim : file.spec.claims()) {
    const std::string control =
        claim.control() == v1::OUTCOME_SUPPORTED ? "control, must be supported: "
        : claim.control() == v1::OUTCOME_REFUTED ? "control, must be refuted: "
                                                 : "";
    Say(stdout, "\n%s%s\n  %s\n  %s\n", control.c_str(), claim.text().c_str(),
        study::FigureText(claim).c_str(), study::RuleText(claim).c_str());
  }
}

void PrintEstimate(const study::Plan& plan, const StudyArguments& arguments) {
  // An evaluation is a forward pass, about a third of a training pass.
  constexpr double kForward = 1.0 / 3;
  const study::StudyFile& file = plan.file();
  const bool tunes = !file.tuning_grid.empty();
  LocalTrialRunner runner(arguments.backend);
  double seconds = 0;
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
  }
  const size_t judged = plan.cells().size() * file.seeds.size();
  const double share = static_cast<double>(plan.FirstTrials().size() + (tunes ? judged : 0)) /
                       static_cast<double>(chosen.size());
  const int at_once = AtOnce(arguments, file.spec), cores = AvailableCores();
  Say(stdout, "\nabout %s on this machine, %s at once%s (by a few steps of %s%s)\n",
      FormatDuration(seconds * share / std::min(at_once, cores)).c_str(),
      Plural(at_once, "trial").c_str(),
      at_once > cores ? (" on " + Plural(cores, "core")).c_str() : "",
      Count(chosen.size(), "cell").c_str(),
      file.spec.tune().halving().rungs_size() > 0 ? ", as if no value were given up" : "");
}

}  // namespace

void PrintStudyPlan(const study::Plan& plan, const StudyArguments& arguments) {
  PrintSize(plan.file(), plan.cells().size());
  PrintTuning(plan);
  PrintCells(plan);
  PrintQuestions(plan.file());
  if (!arguments.no_estimate) PrintEstimate(plan, arguments);
}

}  // namespace syncbn::app
