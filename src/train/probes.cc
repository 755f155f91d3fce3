#include "train/probes.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "train/moments_probe.h"
#include "train/noise_scale.h"

namespace syncbn::train {
namespace {

std::string PrefixOf(const Probe& probe) {
  return std::string(probe.name()) + "/";
}

}  // namespace

Probes::Probes(const v1::RunSpec& spec, Engine& engine, const std::vector<Probe*>& handed_in)
    : engine_(engine), bucket_bytes_(BucketBytes(spec.cluster())) {
  const nn::Model& model = engine.model();
  if (const int64_t every = spec.probes().noise_scale().every_steps(); every > 0) {
    own_.push_back(std::make_unique<NoiseScaleProbe>(every, model.statistics_cross_replicas()));
  }
  if (const int64_t every = spec.probes().moments().every_steps(); every > 0) {
    own_.push_back(std::make_unique<MomentsProbe>(every, model.running_statistics()));
  }
  for (const auto& probe : own_) all_.push_back(probe.get());
  for (Probe* probe : handed_in) {
    SYNCBN_CHECK(std::ranges::none_of(
        all_, [&](const Probe* other) { return other->name() == probe->name(); }))
        << "there are two probes called " << probe->name();
    all_.push_back(probe);
  }
}

bool Probes::AreDue(int64_t step, bool last) const {
  return std::ranges::any_of(all_, [&](const Probe* probe) { return probe->IsDue(step, last); });
}

NamedFigures Probes::Look(ProbedStep step, const StepSettings& settings,
                          const TrainStep::BatchSource& batches) {
  const auto mean_loss = [](const TrainStep& again) {
    const StepFigures figures = again.Figures();
    return figures.loss / figures.samples;
  };
  step.loss_at = [&](const nn::ParameterSet& at) {
    return mean_loss(RunAgain(at, /*backward=*/false, settings, batches));
  };
  step.gradients_at = [&](const nn::ParameterSet& at) {
    const TrainStep& again = RunAgain(at, /*backward=*/true, settings, batches);
    return LossAndGradients{.loss = mean_loss(again), .gradients = again.gradients()};
  };
  MetricRecord record;
  for (Probe* probe : all_) {
    if (!probe->IsDue(step.step, step.last)) continue;
    WithFrame([&] { return "probe " + std::string(probe->name()); },
              [&] { record.AddFigures(probe->Look(step)); });
  }
  return std::move(record.figures);
}

TrainStep& Probes::RunAgain(const nn::ParameterSet& at, bool backward, StepSettings settings,
                            const TrainStep::BatchSource& batches) {
  if (!again_) again_.emplace(engine_, bucket_bytes_);
  settings.parameters = at;
  settings.backward = backward;
  settings.wants_checkpoint = settings.wants_stop = settings.replica_squares = false;
  settings.logit_rows.clear();
  again_->Run(settings, batches);
  return *again_;
}

NamedFigures Probes::Kept() const {
  NamedFigures kept;
  for (const Probe* probe : all_) {
    for (const auto& [name, value] : probe->Kept()) kept[PrefixOf(*probe) + name] = value;
  }
  return kept;
}

void Probes::Restore(const NamedFigures& kept) {
  for (Probe* probe : all_) {
    const std::string prefix = PrefixOf(*probe);
    NamedFigures own;
    for (const auto& [name, value] : kept) {
      if (name.starts_with(prefix)) own[name.substr(prefix.size())] = value;
    }
    if (!own.empty()) probe->Restore(own);
  }
}

}  // namespace syncbn::train
