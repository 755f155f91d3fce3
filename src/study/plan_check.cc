// What may be wrong with a plan: runs, cells that are the same, arms, measures that the runs do not
// have.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "config/diagnostic.h"
#include "study/measures.h"
#include "study/plan.h"
#include "study/resolve.h"

namespace syncbn::study {
namespace {

// Of a probe that is on; `name` is a key of ProbesSpec.
bool HasProbe(const v1::ProbesSpec& probes, const std::string& name) {
  const google::protobuf::FieldDescriptor* field = probes.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr) return false;
  const google::protobuf::Message& probe = probes.GetReflection()->GetMessage(probes, field);
  const google::protobuf::FieldDescriptor* every =
      probe.GetDescriptor()->FindFieldByName("every_steps");
  return every != nullptr && probe.GetReflection()->GetInt64(probe, every) > 0;
}

// The statistics with which a run is evaluated that has the measure.
std::vector<v1::EvaluationMode> EvaluationsFor(const std::string& measure) {
  if (measure == "test_accuracy_precise") return {v1::EVALUATION_MODE_PRECISE};
  if (measure == "test_accuracy_batch") return {v1::EVALUATION_MODE_BATCH};
  if (measure.ends_with("running_gap")) {
    return {v1::EVALUATION_MODE_RUNNING, v1::EVALUATION_MODE_PRECISE};
  }
  return {};
}

}  // namespace

void Plan::CheckRuns() {
  // By its text: a fault, and in how many cells it is.
  struct Found {
    config::Diagnostic fault;
    std::optional<Setting> cause;
    size_t cell = 0, cells = 0;
  };
  std::map<std::string, Found> found;
  const Setting halving{
      .path = "tune.halving", .value = "", .place = file_.PlaceOf("tune.halving")};
  processes_.resize(cells_.size(), 1);
  for (size_t cell = 0; cell < cells_.size(); ++cell) {
    std::set<std::string> here;
    std::vector<std::optional<double>> values = {std::nullopt};
    if (!file_.tuning_grid.empty()) values = {file_.tuning_grid.begin(), file_.tuning_grid.end()};
    for (const std::optional<double> value : values) {
      Trial trial = TrialsOf(cell, value).front();
      const std::vector<Setting> settings = SettingsOf(trial);
      ResolvedRun resolved = Resolve(file_, settings);
      processes_[cell] = resolved.processes;
      if (file_.spec.tune().halving().rungs_size() > 0 && !TrainingSamples(resolved.run)) {
        resolved.faults.push_back(
            {{.path = "tune.halving",
              .message = "needs the number of training samples",
              .hint = "Give data.train_limit in the run file, at most as many as there are."},
             &halving});
      }
      for (const auto& [fault, cause] : resolved.faults) {
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
    const std::shared_ptr<const config::Source> source(file_.run, &file_.run->source());
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
    for (const auto& [where, name] : {std::pair(&claim.less().arm(), ".less.arm"),
                                      std::pair(&claim.less().against(), ".less.against")}) {
      if (!claim.has_less() || OpenLevels(*this, *where) == arm) continue;
      diagnostics.Add(file_.PlaceOf(path + name), path + name,
                      "`skip` leaves other combinations here than in `arm`: they cannot be paired",
                      "Name more axes in all, or skip the same in all.");
    }
    const auto within = [&](const Cell& cell) {
      return Matches(*this, cell, claim.arm()) ||
             (!claim.against().empty() && Matches(*this, cell, claim.against()));
    };
    CheckMeasured(claim.measure(), path + ".measure", within, diagnostics);
    if (claim.against().empty() || OpenLevels(*this, claim.against()) == arm) continue;
    diagnostics.Add(file_.PlaceOf(path + ".against"), path + ".against",
                    "`skip` leaves other combinations here than in `arm`: they cannot be paired",
                    "Name more axes in both, or skip the same in both.");
  }
  ThrowIfAny(diagnostics);
}

void Plan::CheckTuning() const {
  if (file_.tuning_grid.empty() || file_.origin == StudyOrigin::kStored) return;
  config::Diagnostics diagnostics;
  const auto all = [](const Cell&) { return true; };
  CheckMeasured(file_.spec.tune().measure(), "tune.measure", all, diagnostics);
  ThrowIfAny(diagnostics);
}

void Plan::CheckMeasured(const std::string& measure, const std::string& place,
                         const std::function<bool(const Cell& cell)>& within,
                         config::Diagnostics& diagnostics) const {
  const std::optional<std::string> probe = ProbeOf(measure);
  const std::vector<v1::EvaluationMode> modes = EvaluationsFor(measure);
  if (!probe && modes.empty()) return;
  for (size_t i = 0; i < cells_.size(); ++i) {
    if (!within(cells_[i])) continue;
    Trial trial = TrialsOf(i, std::nullopt).front();
    if (!file_.tuning_grid.empty()) trial.tuned = file_.tuning_grid.front();
    const v1::RunSpec run = RunOf(trial);
    if (probe && run.probes().GetDescriptor()->FindFieldByName(*probe) == nullptr) {
      std::vector<std::string> names;
      for (int field = 0; field < run.probes().GetDescriptor()->field_count(); ++field) {
        names.push_back(run.probes().GetDescriptor()->field(field)->name());
      }
      diagnostics.Add(file_.PlaceOf(place), place,
                      "there is no probe `" + *probe + "`" + DidYouMean(*probe, names),
                      "Probes: " + Join(names, ", ") + ".");
      return;
    }
    if (probe && !HasProbe(run.probes(), *probe)) {
      diagnostics.Add(file_.PlaceOf(place), place,
                      "the trials of " + NameOf(i) + " have no probe `" + *probe + "`",
                      "Set probes." + *probe + ", e.g. to 10: a figure every 10 steps.");
      return;
    }
    const auto& with = run.train().evaluate().with();
    for (const v1::EvaluationMode mode : modes) {
      if (std::ranges::find(with, static_cast<int>(mode)) != with.end()) continue;
      diagnostics.Add(
          file_.PlaceOf(place), place, "the trials of " + NameOf(i) + " are not evaluated so",
          "Set train.evaluate.with: [running, precise, batch], or what is needed of it.");
      return;
    }
  }
}

std::string Plan::NameOf(size_t cell) const {
  const std::string text = Describe(cells_[cell]);
  return text.empty() ? "the study" : text;
}

void Plan::ThrowIfAny(config::Diagnostics& diagnostics) const {
  if (diagnostics.empty()) return;
  diagnostics.Sort();
  throw StudyFileError(std::move(diagnostics), file_.source->name());
}

}  // namespace syncbn::study
