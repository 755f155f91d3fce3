// What a checkpoint holds: everything that decides how a run goes on, and nothing that depends on
// the number of processes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/digest.h"
#include "nn/parameters.h"
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

struct Counters {
  // Steps done, skipped ones included: the number of the next step.
  int64_t step = 0;
  // Epoch of the next step.
  int64_t epoch = 0;
  // Training samples seen by those steps.
  int64_t samples = 0;
  // Steps that were not accepted.
  int64_t skipped_steps = 0;
};

// A run has gone on, after `step` steps, where something that bits depend on was another than
// before.
struct EnvironmentChange {
  int64_t step = 0;
  std::string what;  // "back end: cpu: AVX2, was cpu: AVX512"

  bool operator==(const EnvironmentChange&) const = default;
};

// A checkpoint without its tensors: what manifest.json holds.
struct Manifest {
  Counters counters;
  int64_t optimizer_updates = 0;
  // Share of the test split that is classified right, if it was evaluated at this step.
  std::optional<double> test_accuracy;
  // Which start of the job wrote it, from 1.
  int attempt = 1;
  // Written because the run was asked to stop, at a step at which none was due: it goes when the
  // next one is written and is never the best, so that a run that was stopped keeps what an
  // undisturbed one keeps.
  bool until_next = false;
  // Sums that reports go on with (of the current epoch's losses, say); may be NaN.
  std::map<std::string, double> figures;
  // The effective run file in canonical form.
  std::string run_file;
  // StateDigest of parameters and running statistics.
  Digest state_digest;
  // Files of tensors beside it, with the digest of their bytes.
  std::map<std::string, Digest> files;
  // What bits depend on: program, library versions, instruction set, digests of the data.
  std::map<std::string, std::string> environment;
  std::vector<EnvironmentChange> environment_changes;
  // RFC 3339, UTC.
  std::string created;

  // A JSON text that ends in a digest of itself.
  std::string ToJson() const;
  // Throws DATA_LOSS "SOURCE is damaged: WHAT".
  static Manifest FromJson(const std::string& text, const std::string& source);
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
