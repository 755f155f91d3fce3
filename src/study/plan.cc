#include "study/plan.h"

#include <algorithm>
#include <set>

#include "base/digest.h"
#include "base/error.h"
#include "base/text.h"
#include "config/difference.h"
#include "config/run_file.h"
#include "config/scalar.h"

namespace syncbn::study {
namespace {

constexpr size_t kMostCells = 100'000;

struct Resolved {
  v1::RunSpec run;
  // Of the run file with the settings; empty: it is right.
  std::vector<std::pair<config::Diagnostic, const Setting*>> faults;
};

// Samples of `batch` for each of the replicas, evenly.
std::string BatchesText(int64_t batch, int replicas) {
  std::vector<std::string> parts;
  for (int i = 0; i < replicas; ++i) {
    parts.push_back(std::to_string(batch / replicas + (i < batch % replicas ? 1 : 0)));
  }
  return batch % replicas == 0 ? parts.front() : "[" + Join(parts, ", ") + "]";
}

// A whole number of at least 1, which is what the keys of a study are.
int64_t WholeOf(const Setting& setting, Resolved& result) {
  const config::Parsed<int64_t> parsed = config::ParseWhole(setting.value);
  if (parsed.value && *parsed.value >= 1) return *parsed.value;
  result.faults.push_back(
      {{.path = setting.path,
        .message = "expected a whole number of samples of at least 1, found " + setting.value,
        .hint = parsed.hint},
       &setting});
  return 0;
}

// The run file under settings, the keys of the study resolved.
Resolved Resolve(const StudyFile& file, const std::vector<Setting>& settings) {
  Resolved result;
  std::vector<std::string> overrides;
  // By override: what it came from.
  std::vector<const Setting*> from;
  const Setting* batch = nullptr;
  for (const Setting& setting : settings) {
    if (setting.path == kSgdBatch) {
      batch = &setting;
    } else {
      overrides.push_back(setting.path + "=" + setting.value);
      from.push_back(&setting);
    }
  }
  const auto add = [&](std::string text, const Setting& setting) {
    overrides.push_back(std::move(text));
    from.push_back(&setting);
  };
  const auto check = [&] { return config::CheckRunFile(file.run_text, file.run_name, overrides); };
  config::CheckedRunFile checked = check();
  if (batch != nullptr) {
    const int64_t whole = WholeOf(*batch, result);
    if (whole < 1) return result;
    const int replicas = checked.file.spec.cluster().replicas();
    if (whole < replicas) {
      result.faults.push_back({{.path = batch->path,
                                .message = Plural(whole, "sample") + (whole == 1 ? " is" : " are") +
                                           " not enough for " + Plural(replicas, "replica")},
                               batch});
      return result;
    }
    add("cluster.batch_per_replica=" + BatchesText(whole, std::max(1, replicas)), *batch);
    checked = check();
  }
  for (const config::Diagnostic& fault : checked.diagnostics.all()) {
    const Setting* cause = nullptr;
    for (size_t i = 0; i < overrides.size(); ++i) {
      if (fault.source == "--set " + overrides[i]) cause = from[i];
    }
    result.faults.emplace_back(fault, cause);
  }
  result.run = std::move(checked.file.spec);
  return result;
}

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
  CheckArms();
}

void Plan::CheckRuns() const {
  // By its text: a fault, and in how many cells it is.
  struct Found {
    config::Diagnostic fault;
    std::optional<Setting> cause;
    size_t cell = 0, cells = 0;
  };
  std::map<std::string, Found> found;
  for (size_t cell = 0; cell < cells_.size(); ++cell) {
    std::set<std::string> here;
    std::vector<std::optional<double>> values = {std::nullopt};
    if (!file_.tuning_grid.empty()) values = {file_.tuning_grid.begin(), file_.tuning_grid.end()};
    for (const std::optional<double> value : values) {
      Trial trial = TrialsOf(cell, value).front();
      const std::vector<Setting> settings = SettingsOf(trial);
      for (const auto& [fault, cause] : Resolve(file_, settings).faults) {
        const std::string key = fault.source + std::to_string(fault.line) + ":" +
                                std::to_string(fault.column) + fault.path + fault.message +
                                (cause != nullptr ? cause->value : "");
        Found& one = found[key];
        if (one.cells == 0) {
          one = {fault, cause != nullptr ? std::optional(*cause) : std::nullopt, cell, 0};
        }
        if (here.insert(key).second) ++one.cells;
      }
    }
  }
  config::Diagnostics diagnostics;
  for (const auto& [key, one] : found) {
    const config::Diagnostic& fault = one.fault;
    if (one.cause) {
      diagnostics.Add(one.cause->place, fault.path, fault.message, fault.hint);
      continue;
    }
    // A fault that stands in the run file itself, or comes from several settings together.
    const auto source = std::make_shared<const config::Source>(file_.run_name, file_.run_text);
    config::Location place{source, std::nullopt};
    if (fault.line > 0) {
      place.position = source->LineStart(fault.line) + static_cast<size_t>(fault.column - 1);
    }
    std::string hint = fault.hint;
    if (one.cells < cells_.size()) {
      hint += (hint.empty() ? "" : "\n") + ("In the trials of " + Describe(cells_[one.cell]) + ".");
    }
    diagnostics.Add(place, fault.path, fault.message, std::move(hint));
  }
  ThrowIfAny(diagnostics);
  // Cells that are the same run would be counted as if each were evidence of its own.
  std::map<std::string, size_t> cells;
  for (size_t cell = 0; cell < cells_.size(); ++cell) {
    Trial trial = TrialsOf(cell, std::nullopt).front();
    if (!file_.tuning_grid.empty()) trial.tuned = file_.tuning_grid.front();
    const auto [first, fresh] = cells.emplace(IdOf(trial), cell);
    if (fresh) continue;
    diagnostics.Add(file_.PlaceOf("axes"), "axes",
                    "the trials of " + Describe(cells_[first->second]) + " and of " +
                        Describe(cells_[cell]) + " are the same runs",
                    "What they differ in changes nothing, or is overwritten by another setting.");
    ThrowIfAny(diagnostics);
  }
}

void Plan::CheckArms() const {
  config::Diagnostics diagnostics;
  for (int i = 0; i < file_.spec.claims_size(); ++i) {
    const v1::ClaimSpec& claim = file_.spec.claims(i);
    const std::string path = "claims." + std::to_string(i);
    const auto arm = OpenLevels(*this, claim.arm());
    if (arm.empty()) {
      diagnostics.Add(file_.PlaceOf(path + ".arm"), path + ".arm", "`skip` leaves no trial of it");
    }
    if (claim.against().empty() || OpenLevels(*this, claim.against()) == arm) continue;
    diagnostics.Add(file_.PlaceOf(path + ".against"), path + ".against",
                    "`skip` leaves other combinations here than in `arm`: they cannot be paired",
                    "Name more axes in both, or skip the same in both.");
  }
  ThrowIfAny(diagnostics);
}

void Plan::ThrowIfAny(config::Diagnostics& diagnostics) const {
  if (diagnostics.empty()) return;
  diagnostics.Sort();
  throw Error(ErrorCode::kInvalidArgument, diagnostics.Format(file_.source->name()));
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
    for (const double value : file_.tuning_grid) {
      trials.push_back(
          {.cell = cell, .seed = file_.spec.tune().seed(), .tuned = value, .tuning = true});
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
  const std::vector<Setting> settings = SettingsOf(trial);
  Resolved resolved = Resolve(file_, settings);
  if (resolved.faults.empty()) return std::move(resolved.run);
  const config::Diagnostic& fault = resolved.faults.front().first;
  throw Error(ErrorCode::kInvalidArgument,
              Describe(cells_[trial.cell]) + ": " + fault.path + ": " + fault.message);
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
  const std::string text = config::CanonicalText(run, config::CanonicalScope::kAll);
  std::string id = DigestOf(std::as_bytes(std::span(text))).Hex().substr(0, 16);
  std::lock_guard lock(mutex_);
  return ids_.emplace(trial, std::move(id)).first->second;
}

bool Matches(const Plan& plan, const Cell& cell,
             const google::protobuf::RepeatedPtrField<v1::SettingSpec>& where) {
  return std::ranges::all_of(where, [&](const v1::SettingSpec& setting) {
    for (size_t axis = 0; axis < plan.file().axes.size(); ++axis) {
      if (plan.file().axes[axis].name != setting.path()) continue;
      const std::string& value = setting.value();
      const std::string label =
          value.size() > 1 && value.front() == '"' ? value.substr(1, value.size() - 2) : value;
      return plan.LevelOf(cell, axis).label == label;
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
