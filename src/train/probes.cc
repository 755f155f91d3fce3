#include "train/probes.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "train/probes/activations.h"
#include "train/probes/correlation.h"
#include "train/probes/covariate_shift.h"
#include "train/probes/hessian.h"
#include "train/probes/landscape.h"
#include "train/probes/moments_probe.h"
#include "train/probes/noise_scale.h"
#include "train/probes/running_error.h"

namespace syncbn::train {
namespace {

std::string PrefixOf(const Probe& probe) {
  return std::string(probe.name()) + "/";
}

}  // namespace

Probes::Probes(const v1::RunSpec& spec, Engine& engine, const std::vector<Probe*>& handed_in)
    : spec_(spec), engine_(engine), bucket_bytes_(BucketBytes(spec.cluster())) {
  AddOwn();
  for (const auto& probe : own_) all_.push_back(probe.get());
  for (Probe* probe : handed_in) {
    SYNCBN_CHECK(std::ranges::none_of(
        all_, [&](const Probe* other) { return other->name() == probe->name(); }))
        << "there are two probes called " << probe->name();
    all_.push_back(probe);
  }
}

void Probes::AddOwn() {
  const nn::Model& model = engine_.model();
  const v1::ProbesSpec& asked = spec_.probes();
  // Makes a probe where it is asked for.
  const auto add = [&](int64_t every_steps, auto make) {
    if (every_steps > 0) own_.push_back(make());
  };
  add(asked.noise_scale().every_steps(), [&] {
    return std::make_unique<NoiseScaleProbe>(asked.noise_scale().every_steps(),
                                             model.statistics_cross_replicas());
  });
  add(asked.moments().every_steps(), [&] {
    return std::make_unique<MomentsProbe>(asked.moments().every_steps(),
                                          model.running_statistics());
  });
  add(asked.activations().every_steps(), [&] {
    return std::make_unique<ActivationsProbe>(asked.activations().every_steps(), unfused());
  });
  add(asked.running_error().every_steps(), [&] {
    return std::make_unique<RunningErrorProbe>(asked.running_error(), model.running_statistics());
  });
  add(asked.landscape().every_steps(),
      [&] { return std::make_unique<LandscapeProbe>(asked.landscape()); });
  add(asked.covariate_shift().every_steps(), [&] {
    return std::make_unique<CovariateShiftProbe>(asked.covariate_shift().every_steps(), unfused());
  });
  add(asked.hessian().every_steps(),
      [&] { return std::make_unique<HessianProbe>(asked.hessian(), spec_.seed()); });
  add(asked.correlation().every_steps(), [&] {
    return std::make_unique<CorrelationProbe>(asked.correlation().every_steps(), unfused());
  });
}

const nn::Model& Probes::unfused() {
  if (!unfused_) {
    unfused_ = nn::BuildModelOf(spec_, engine_.model().input(), /*fuse=*/false);
  }
  return *unfused_;
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
  step.watch_at = [&](const nn::ParameterSet& at, bool backward, const WatchSource& watches) {
    StepSettings watched = settings;
    watched.model = &unfused();
    watched.watches = watches;
    RunAgain(at, backward, std::move(watched), batches);
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
