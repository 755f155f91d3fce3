#include "coordinator/study/trial_labels.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "base/text.h"
#include "coordinator/api_error.h"
#include "coordinator/service/submission.h"

namespace syncbn::coordinator {
namespace {

// Of every trial, whether it is tuned or not.
const std::set<std::string>& FixedLabels() {
  static const std::set<std::string> labels = {"study", "trial", "seed", "tuned"};
  return labels;
}

// What of a text a label may hold; empty: nothing.
std::string LabelText(const std::string& text) {
  std::string label = text.substr(0, kMostLabelBytes);
  for (char& c : label) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) == 0 && c != '.' && c != '_' && c != '-') c = '_';
  }
  return label;
}

}  // namespace

std::vector<std::string> AxisLabels(const study::StudyFile& file) {
  std::set<std::string> taken = FixedLabels();
  std::vector<std::string> labels;
  for (const study::Axis& axis : file.axes) {
    std::string label = LabelText(axis.name);
    for (int i = 1; !taken.insert(label).second; ++i) {
      label = LabelText("axis" + (i > 1 ? std::to_string(i) : "") + "_" + axis.name);
    }
    labels.push_back(std::move(label));
  }
  return labels;
}

std::map<std::string, std::string> TrialLabels(int64_t study, const study::Plan& plan,
                                               const study::TrialResult& trial) {
  std::map<std::string, std::string> labels = {{"study", std::to_string(study)},
                                               {"trial", trial.id},
                                               {"seed", std::to_string(trial.trial.seed)}};
  if (trial.trial.tuned) labels["tuned"] = LabelText(FormatDouble(*trial.trial.tuned));
  const std::vector<std::string> axes = AxisLabels(plan.file());
  const study::Cell& cell = plan.cells()[trial.trial.cell];
  for (size_t axis = 0; axis < axes.size(); ++axis) {
    const std::string text = LabelText(plan.LevelOf(cell, axis).label);
    if (!text.empty()) labels[axes[axis]] = text;
  }
  return labels;
}

void CheckLabelsBeside(const std::map<std::string, std::string>& own,
                       const study::StudyFile& file) {
  const std::vector<std::string> axes = AxisLabels(file);
  for (const auto& [key, value] : own) {
    if (!FixedLabels().contains(key) && std::ranges::find(axes, key) == axes.end()) continue;
    ThrowFieldInvalid("labels", "label '" + key + "': the study gives its trials one of this name");
  }
  const size_t given = FixedLabels().size() + axes.size();
  if (own.size() + given <= kMostLabels) return;
  ThrowFieldInvalid("labels", "the study gives its trials up to " + std::to_string(given) +
                                  " labels; with " + std::to_string(own.size()) +
                                  " more there are too many: a job has at most " +
                                  std::to_string(kMostLabels));
}

}  // namespace syncbn::coordinator
