#include "study/trials_csv.h"

#include <algorithm>
#include <cmath>

#include "base/text.h"

namespace syncbn::study {
namespace {

// A value of a CSV file: in quotation marks where it needs them.
std::string CsvText(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::string CsvNumber(double value) {
  if (std::isnan(value)) return "";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return FormatDouble(value);
}

// The columns that say which trial a line is of.
void AppendTrial(std::string& csv, const Plan& plan, const TrialResult& one) {
  csv += one.id;
  const Cell& cell = plan.cells()[one.trial.cell];
  for (size_t axis = 0; axis < plan.file().axes.size(); ++axis) {
    csv += "," + CsvText(plan.LevelOf(cell, axis).label);
  }
  csv += "," + std::to_string(one.trial.seed);
  if (plan.file().spec.has_tune()) {
    csv += "," + (one.trial.tuned ? CsvNumber(*one.trial.tuned) : "") + "," +
           (one.trial.tuning ? "tune" : "judge");
  }
}

std::string TrialHeader(const Plan& plan) {
  std::string csv = "trial";
  for (const Axis& axis : plan.file().axes) csv += "," + CsvText(axis.name);
  csv += ",seed";
  if (plan.file().spec.has_tune()) {
    csv += "," + CsvText(plan.file().spec.tune().path()) + ",purpose";
  }
  return csv;
}

// What two runs of a study have in common.
std::vector<std::string> ResultNames(const v1::StudySpec& study) {
  std::vector<std::string> names = MeasureNames(study);
  std::erase_if(names, [](const std::string& name) { return name == "tuned" || IsTime(name); });
  return names;
}

}  // namespace

const std::vector<std::string>& TimingNames() {
  static const std::vector<std::string> kNames = {
      "seconds", "images_per_second", "ms_compute", "ms_statistics", "ms_gradients", "ms_data"};
  return kNames;
}

std::string TrialsCsv(const Plan& plan, const Outlook& outlook) {
  const std::vector<std::string> names = ResultNames(plan.file().spec);
  std::string csv = TrialHeader(plan) + ",end,steps,samples";
  for (const std::string& name : names) csv += "," + CsvText(name);
  csv += ",digest\n";
  for (const TrialResult& one : outlook.trials()) {
    if (one.record == nullptr) continue;
    AppendTrial(csv, plan, one);
    csv += std::string(",") + TrialEndName(one.record->end) + "," +
           std::to_string(one.record->steps) + "," + std::to_string(one.record->samples);
    for (const std::string& name : names) csv += "," + CsvNumber(outlook.MeasureOf(name, one));
    csv += "," + one.record->digest + "\n";
  }
  return csv;
}

std::string TimingsCsv(const Plan& plan, const Outlook& outlook) {
  std::vector<std::string> names = MeasureNames(plan.file().spec);
  std::erase_if(names, [](const std::string& name) { return !IsTime(name) || name == "seconds"; });
  for (const v1::TargetSpec& target : plan.file().spec.targets()) {
    std::string name = "seconds_to " + target.name();
    if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
  }
  std::string csv = TrialHeader(plan);
  for (const std::string& name : TimingNames()) csv += "," + name;
  for (const std::string& name : names) csv += "," + CsvText(name);
  csv += "\n";
  for (const TrialResult& one : outlook.trials()) {
    if (one.record == nullptr) continue;
    AppendTrial(csv, plan, one);
    for (const std::string& name : TimingNames()) {
      const auto found = one.record->timings.find(name);
      csv += "," + (found == one.record->timings.end() ? "" : CsvNumber(found->second));
    }
    for (const std::string& name : names) csv += "," + CsvNumber(outlook.MeasureOf(name, one));
    csv += "\n";
  }
  return csv;
}

}  // namespace syncbn::study
