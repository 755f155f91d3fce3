// The probes of a run: those that its run file asks for, and those that were handed in.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "data/batch_maker.h"
#include "train/engine.h"
#include "train/probe.h"
#include "train/train_step.h"

namespace syncbn::train {

class Probes {
 public:
  // `spec` is validated and complete; what is pointed at must outlive this. Of all probes, names
  // differ.
  Probes(const v1::RunSpec& spec, Engine& engine, const std::vector<Probe*>& handed_in);

  bool AreDue(int64_t step, bool last) const;

  // Collective: the figures of those that are due. `step` is complete but for loss_at and
  // gradients_at, which run `settings` again, on what `batches` gives. Throws what a probe throws,
  // with its name.
  NamedFigures Look(ProbedStep step, const StepSettings& settings,
                    const TrainStep::BatchSource& batches);

  // See Probe::Kept; by "NAME/SUM".
  NamedFigures Kept() const;
  void Restore(const NamedFigures& kept);

 private:
  void AddOwn();
  // See ProbedStep::watch_at; built with the first use.
  const nn::Model& unfused();
  // The step's pass again: figures and gradients are in the step that it returns.
  TrainStep& RunAgain(const nn::ParameterSet& at, bool backward, StepSettings settings,
                      const TrainStep::BatchSource& batches);

  const v1::RunSpec& spec_;
  Engine& engine_;
  const double bucket_bytes_;
  std::vector<std::unique_ptr<Probe>> own_;
  std::vector<Probe*> all_;
  std::unique_ptr<const nn::Model> unfused_;
  // Made with the first use: what a step has left is not written over.
  std::optional<TrainStep> again_;
};

}  // namespace syncbn::train
