// Recurrent layers: the norm within, and what they read.
#include <string>

#include "base/text.h"
#include "config/recurrent.h"
#include "config/validate.h"

namespace syncbn::config {
namespace {

// Whether W_ih x of all time steps has common statistics.
bool OverTime(const v1::NormSpec& norm, const v1::RecurrentSpec& spec) {
  return norm.kind() == v1::NORM_KIND_BATCH && spec.statistics() == v1::RECURRENT_STATISTICS_SHARED;
}

}  // namespace

void CheckRecurrentLayer(const RunCheck& check, const std::string& path,
                         const v1::RecurrentSpec& spec, int64_t rows) {
  if (!check.Readable({path, "model.norm"}) || spec.hidden() == 0) return;
  if (rows > 0 && spec.train_rows() > rows) {
    check.Report(path + ".train_rows",
                 "training would read " + Plural(spec.train_rows(), "row") +
                     ", but the layer's input has " + std::to_string(rows),
                 "Give at most as many, or 0 for all.");
    return;
  }
  const v1::NormSpec& norm = check.spec.model().norm();
  const int64_t read = spec.train_rows() > 0 ? spec.train_rows() : rows;
  if (norm.kind() == v1::NORM_KIND_NONE || !NormUnfitForRecurrence(norm).empty()) return;
  if (OverTime(norm, spec) && read != 1) return;
  CheckNormElements(check, "model.norm", norm, spec.hidden(), "a time step of " + path, "`layer`");
}

void ValidateRecurrent(const RunCheck& check) {
  if (!check.Readable({"model.architecture", "model.layers", "model.norm"})) return;
  const v1::ModelSpec& model = check.spec.model();
  if (!HasRecurrentLayer(model)) return;
  const v1::NormSpec& norm = model.norm();
  if (const std::string reason = NormUnfitForRecurrence(norm); !reason.empty()) {
    check.Report("model.norm.kind", reason, "Use `batch`, `layer` or `none`.");
  }
  if (norm.noise().shift() > 0 || norm.noise().scale() > 1) {
    check.ReportKey("model.norm.noise", "is not there for the norms within a recurrent layer",
                    "Remove it.");
  }
  if (!model.layers().empty()) return;  // ValidateLayers knows the shapes
  if (norm.kind() != v1::NORM_KIND_NONE && IsAfterActivation(norm.placement())) {
    check.Report("model.norm.placement",
                 "has no meaning in a recurrent layer, whose norms stand before its activations",
                 "Remove it.");
  }
  const KnownData data =
      check.Readable({"data.dataset"}) ? KnownDataOf(check.spec.data()) : KnownData();
  CheckRecurrentLayer(check, "model.recurrent", model.recurrent(), data.height);
}

}  // namespace syncbn::config
