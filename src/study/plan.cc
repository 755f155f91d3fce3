#include "study/plan.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/digest.h"
#include "base/error.h"
#include "base/text.h"
#include "config/difference.h"
#include "study/resolve.h"
#include "study/study_check.h"

namespace syncbn::study {
namespace {

constexpr size_t kMostCells = 100'000;

}  // namespace

Plan::Plan(StudyFile file) : file_(std::move(file)) {
  size_t count = 1;
  for (const Axis& axis : file_.axes) {
    count *= axis.levels.size();
    if (count > kMostCells) {
      throw Error(ErrorCode::kInvalidArgument, file_.source->name() + ": the axes have more than " +
                                                   std::to_string(kMostCells) + " combinations");
    }
  }
  const auto skipped = [&](const Cell& cell) {
    return std::ranges::any_of(file_.spec.skip(), [&](const v1::SkipCellSpec& skip) {
      return Matches(*this, cell, skip.where());
    });
  };
  for (size_t i = 0; i < count; ++i) {
    Cell cell;
    cell.levels.resize(file_.axes.size());
    size_t rest = i;
    for (size_t axis = file_.axes.size(); axis-- > 0;) {
      cell.levels[axis] = static_cast<int>(rest % file_.axes[axis].levels.size());
      rest /= file_.axes[axis].levels.size();
    }
    if (!skipped(cell)) cells_.push_back(std::move(cell));
  }
  if (cells_.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                file_.source->name() + ": skip: leaves no combination of the axes");
  }
  CheckRuns();
  CheckTuning();
  if (!file_.no_verdicts) CheckArms();
}

std::string Plan::Describe(const Cell& cell) const {
  std::vector<std::string> parts;
  for (size_t axis = 0; axis < file_.axes.size(); ++axis) {
    parts.push_back(file_.axes[axis].name + " " + LevelOf(cell, axis).label);
  }
  return Join(parts, ", ");
}

std::vector<Trial> Plan::FirstTrials() const {
  std::vector<Trial> trials;
  for (size_t cell = 0; cell < cells_.size(); ++cell) {
    if (file_.tuning_grid.empty()) {
      for (Trial& trial : TrialsOf(cell, std::nullopt)) trials.push_back(std::move(trial));
    }
    const bool halves = file_.spec.tune().halving().rungs_size() > 0;
    for (const double value : file_.tuning_grid) {
      trials.push_back({.cell = cell,
                        .seed = file_.spec.tune().seed(),
                        .tuned = value,
                        .tuning = true,
                        .rung = halves ? std::optional(0) : std::nullopt});
    }
  }
  return trials;
}

std::vector<Trial> Plan::TrialsOf(size_t cell, std::optional<double> tuned) const {
  std::vector<Trial> trials;
  for (const uint64_t seed : file_.seeds) {
    trials.push_back({.cell = cell, .seed = seed, .tuned = tuned, .tuning = false});
  }
  return trials;
}

std::vector<Setting> Plan::SettingsOf(const Trial& trial) const {
  std::vector<Setting> settings = file_.set;
  const Cell& cell = cells_[trial.cell];
  for (size_t axis = 0; axis < file_.axes.size(); ++axis) {
    const Level& level = LevelOf(cell, axis);
    settings.insert(settings.end(), level.settings.begin(), level.settings.end());
  }
  if (trial.tuned) {
    settings.push_back({.path = file_.spec.tune().path(),
                        .value = FormatDouble(*trial.tuned),
                        .place = file_.PlaceOf("tune")});
  }
  settings.push_back(
      {.path = "seed", .value = std::to_string(trial.seed), .place = file_.PlaceOf("seeds")});
  return settings;
}

v1::RunSpec Plan::RunOf(const Trial& trial) const {
  v1::RunSpec run = RunOfCell(trial);
  run.set_seed(trial.seed);
  if (trial.rung) EndAtRung(*trial.rung, run);
  return run;
}

v1::RunSpec Plan::RunOfCell(const Trial& trial) const {
  {
    std::lock_guard lock(mutex_);
    if (last_ && last_->cell == trial.cell && last_->tuned == trial.tuned) return last_->run;
  }
  const std::vector<Setting> settings = SettingsOf(trial);
  ResolvedRun resolved = Resolve(file_, settings);
  if (!resolved.faults.empty()) {
    const config::Diagnostic& fault = resolved.faults.front().first;
    throw Error(ErrorCode::kInvalidArgument,
                Describe(cells_[trial.cell]) + ": " + fault.path + ": " + fault.message);
  }
  std::lock_guard lock(mutex_);
  last_ = {.cell = trial.cell, .tuned = trial.tuned, .run = std::move(resolved.run)};
  return last_->run;
}

int Plan::ProcessesOf(const Trial& trial) const {
  return processes_[trial.cell];
}

void Plan::EndAtRung(int rung, v1::RunSpec& run) const {
  const double share = file_.spec.tune().halving().rungs(rung);
  const int64_t most = run.train().max_steps();
  int64_t steps = WholeSteps(run, *TrainingSamples(run));
  if (most > 0) steps = std::min(steps, most);
  run.mutable_train()->set_max_steps(
      std::max<int64_t>(1, std::llround(share * static_cast<double>(steps))));
}

const std::string& Plan::IdOf(const Trial& trial) const {
  {
    std::lock_guard lock(mutex_);
    if (const auto found = ids_.find(trial); found != ids_.end()) return found->second;
  }
  // All but what says where things go: what is measured depends on the length of the run and on
  // when and how it is evaluated as well.
  v1::RunSpec run = RunOf(trial);
  run.clear_name();
  run.clear_output();
  run.mutable_train()->clear_checkpoint();
  // Trials keep the ids that they had when there was no choice.
  if (run.convolution() == v1::CONVOLUTION_DIRECT) run.clear_convolution();
  if (run.precision() == v1::PRECISION_FLOAT32) run.clear_precision();
  std::string text = config::CanonicalText(run, config::CanonicalScope::kAll);
  // The result is the same by the last bit; its times are not.
  if (ProcessesOf(trial) > 1) text += "\nprocesses: " + std::to_string(ProcessesOf(trial));
  std::string id = DigestOf(std::as_bytes(std::span(text))).Hex().substr(0, 16);
  std::lock_guard lock(mutex_);
  return ids_.emplace(trial, std::move(id)).first->second;
}

bool Matches(const Plan& plan, const Cell& cell,
             const google::protobuf::RepeatedPtrField<v1::SettingSpec>& where) {
  return std::ranges::all_of(where, [&](const v1::SettingSpec& setting) {
    for (size_t axis = 0; axis < plan.file().axes.size(); ++axis) {
      if (plan.file().axes[axis].name != setting.path()) continue;
      return plan.LevelOf(cell, axis).label == LabelOf(setting.value());
    }
    return false;
  });
}

std::vector<int> OpenLevelsOf(const Plan& plan, const Cell& cell,
                              const google::protobuf::RepeatedPtrField<v1::SettingSpec>& where) {
  std::vector<int> open;
  for (size_t axis = 0; axis < cell.levels.size(); ++axis) {
    const bool named = std::ranges::any_of(where, [&](const v1::SettingSpec& setting) {
      return setting.path() == plan.file().axes[axis].name;
    });
    if (!named) open.push_back(cell.levels[axis]);
  }
  return open;
}

std::set<std::vector<int>> OpenLevels(
    const Plan& plan, const google::protobuf::RepeatedPtrField<v1::SettingSpec>& where) {
  std::set<std::vector<int>> all;
  for (const Cell& cell : plan.cells()) {
    if (Matches(plan, cell, where)) all.insert(OpenLevelsOf(plan, cell, where));
  }
  return all;
}

}  // namespace syncbn::study
