// A training step in a file, so that anybody can compute it again in another framework.
//
// OUT/steps/000000.safetensors holds, for step 0 of a run:
//   input.images      [N, H, W, C] as fed to the model (augmented, standardized), replicas in order
//   input.labels      I32 [N]
//   input.replica     I32 [N], the replica of each sample
//   input.sample_ids  I64 [N], the data set's index of each sample
//   before.NAME, after.NAME   every parameter and running statistic around the step
//   gradient.NAME     gradient of the mean loss for every parameter, before clipping
// and as metadata step, epoch, learning_rate, loss, gradient_scale (the factor of clipping),
// accepted and digest (of all after.*: what metrics.jsonl has), numbers in a form that reads back
// as the same double.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "nn/parameters.h"
#include "tensor/tensor.h"

namespace syncbn::train {

struct StepDump {
  int64_t step = 0;
  int64_t epoch = 0;
  double learning_rate = 0;
  // Mean over the samples.
  double loss = 0;
  double gradient_scale = 1;
  // False: the step was skipped, and after.* is before.*.
  bool accepted = true;

  Tensor images;
  Tensor labels;
  Tensor replica;
  Tensor sample_ids;
  // Flat tensors.
  Tensor parameters_before, parameters_after;
  Tensor gradients;
  Tensor running_before, running_after;

  // Added to the metadata.
  std::map<std::string, std::string> notes;
};

// Writes OUT/steps/NNNNNN.safetensors and returns its path. Throws what WriteFileAtomically throws.
std::filesystem::path WriteStepDump(const std::filesystem::path& out,
                                    const nn::ParameterLayout& parameter_layout,
                                    const nn::StateLayout& state_layout, const StepDump& dump);

}  // namespace syncbn::train
