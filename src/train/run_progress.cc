#include "train/run_progress.h"

namespace syncbn::train {
namespace {

const std::string kTest = "test.", kProbe = "probe.", kLoss = ".loss", kAccuracy = ".accuracy";

}  // namespace

void RunProgress::CountStep(bool skipped) {
  ++counters.step;
  skipped_in_a_row = skipped ? skipped_in_a_row + 1 : 0;
  counters.skipped_steps += skipped ? 1 : 0;
  evaluated = false;
  test_accuracy.reset();
  until_next = false;
}

void RunProgress::WriteTo(Manifest& manifest) const {
  manifest.counters = counters;
  manifest.test_accuracy = test_accuracy;
  manifest.until_next = until_next;
  manifest.environment_changes = environment_changes;
  manifest.figures = {{"epoch_loss", epoch.loss},
                      {"epoch_correct", epoch.correct},
                      {"epoch_samples", epoch.samples},
                      {"epoch_skipped", static_cast<double>(epoch.skipped)},
                      {"skipped_in_a_row", static_cast<double>(skipped_in_a_row)},
                      {"evaluated", evaluated ? 1 : 0}};
  if (best_test_accuracy) manifest.figures["best_test_accuracy"] = *best_test_accuracy;
  for (const auto& [name, figures] : tests) {
    manifest.figures[kTest + name + kLoss] = figures.loss;
    manifest.figures[kTest + name + kAccuracy] = figures.accuracy;
  }
  for (const auto& [name, value] : probes) manifest.figures[kProbe + name] = value;
}

RunProgress RunProgress::From(const Manifest& manifest) {
  const auto find = [&](const std::string& name) -> std::optional<double> {
    const auto found = manifest.figures.find(name);
    if (found == manifest.figures.end()) return std::nullopt;
    return found->second;
  };
  RunProgress progress{
      .counters = manifest.counters,
      .epoch = {.loss = find("epoch_loss").value_or(0),
                .correct = find("epoch_correct").value_or(0),
                .samples = find("epoch_samples").value_or(0),
                .skipped = static_cast<int64_t>(find("epoch_skipped").value_or(0))},
      .skipped_in_a_row = static_cast<int64_t>(find("skipped_in_a_row").value_or(0)),
      .evaluated = manifest.test_accuracy.has_value() || find("evaluated").value_or(0) > 0,
      .test_accuracy = manifest.test_accuracy,
      .best_test_accuracy = find("best_test_accuracy"),
      .until_next = manifest.until_next,
      .environment_changes = manifest.environment_changes};
  for (const auto& [name, value] : manifest.figures) {
    if (name.starts_with(kProbe)) progress.probes[name.substr(kProbe.size())] = value;
    if (!name.starts_with(kTest)) continue;
    const std::string_view rest = std::string_view(name).substr(kTest.size());
    if (rest.ends_with(kLoss)) {
      progress.tests[std::string(rest.substr(0, rest.size() - kLoss.size()))].loss = value;
    } else if (rest.ends_with(kAccuracy)) {
      progress.tests[std::string(rest.substr(0, rest.size() - kAccuracy.size()))].accuracy = value;
    }
  }
  return progress;
}

}  // namespace syncbn::train
