// What a checkpoint holds: everything that decides how a run goes on, and nothing that depends on
// the number of processes.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "nn/parameters.h"
#include "train/manifest/manifest.h"
#include "train/named_tensor.h"
#include "train/optimizer.h"

namespace syncbn::train {

// What accepted steps change.
struct TrainingState {
  Tensor parameters;  // flat
  Tensor running_statistics;  // flat F64
  OptimizerState optimizer;

  TrainingState ToDevice(backend::Stream& stream) const;
  TrainingState OnHost() const;
};

// The parts that say which tensors a run has; all must outlive their users.
struct TensorLayouts {
  const nn::ParameterLayout* parameters = nullptr;
  const nn::RunningStatisticsLayout* running_statistics = nullptr;
  const Optimizer* optimizer = nullptr;
};

// A state as files hold it, on the host, most of it as views.
struct StateTensors {
  // Parameters and running statistics: a state_dict, which loads elsewhere as it is.
  std::vector<NamedTensor> model;
  // "optimizer.SLOT.PARAMETER"; none where the optimizer keeps no state.
  std::vector<NamedTensor> optimizer;

  // Both, one after the other.
  std::vector<NamedTensor> All() const;
};
StateTensors CheckpointTensors(const TensorLayouts& layouts, const TrainingState& state);

// Zeros, with initial running statistics. On the host.
TrainingState EmptyState(const TensorLayouts& layouts, DType dtype);

// The state of a run that continues from these tensors, of all files of a checkpoint, on the host. Throws
// FAILED_PRECONDITION when names, types or shapes are not the run's (`source` begins the message),
// DATA_LOSS when the restored state has another digest than the manifest says.
TrainingState RestoreState(const TensorLayouts& layouts, DType dtype, const Manifest& manifest,
                           std::span<const NamedTensor> tensors, const std::string& source);

// Throws FAILED_PRECONDITION, naming all of them, if the run file differs from the checkpoint's in
// fields that change the result ("train.optimizer.momentum: 0.9, the checkpoint has 0").
void CheckContinues(const std::vector<std::string>& differences, const std::string& source);

}  // namespace syncbn::train
