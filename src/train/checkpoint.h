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
  Tensor running;     // flat F64: running statistics
  OptimizerState optimizer;
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

// A checkpoint without its tensors: what manifest.json holds.
struct Manifest {
  Counters counters;
  int64_t optimizer_updates = 0;
  // Share of the test split that is classified right, if it was evaluated at this step.
  std::optional<double> test_accuracy;
  // Which start of the job wrote it, from 1.
  int attempt = 1;
  // Sums that reports go on with (of the current epoch's losses, say); may be NaN.
  std::map<std::string, double> figures;
  // The effective run file in canonical form.
  std::string run_file;
  // StateDigest of parameters and running statistics.
  Digest state_digest;
  // Of the bytes of tensors.safetensors.
  Digest tensors_digest;
  // What bits depend on, for messages: program, library versions, instruction set.
  std::map<std::string, std::string> environment;
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
  const nn::StateLayout* running = nullptr;
  const Optimizer* optimizer = nullptr;
};

// Parameters, running statistics and optimizer state under their names, as views.
std::vector<NamedTensor> CheckpointTensors(const TensorLayouts& layouts,
                                           const TrainingState& state);

// The state of a run that continues from these tensors. Throws FAILED_PRECONDITION when names,
// types or shapes are not the run's (`source` begins the message), DATA_LOSS when the restored
// state has another digest than the manifest says.
TrainingState RestoreState(const TensorLayouts& layouts, DType dtype, const Manifest& manifest,
                           std::span<const NamedTensor> tensors, const std::string& source);

// Throws FAILED_PRECONDITION, naming all of them, if the run file differs from the checkpoint's in
// fields that change the result ("train.optimizer.momentum: 0.9, the checkpoint has 0").
void CheckContinues(const std::vector<std::string>& differences, const std::string& source);

}  // namespace syncbn::train
