// A training step in a file, so that anybody can compute it again in another framework.
//
// OUT/steps/000000.safetensors holds, for step 0 of a run, in PyTorch's layouts and under its
// names:
//   input.images      [N, C, H, W] as fed to the model (augmented, standardized), replicas in order
//   input.labels      I32 [N]
//   input.replica     I32 [N], the replica of each sample
//   input.sample_ids  I64 [N], the data set's index of each sample
//   dropout.LAYER     [N, C, H, W] or [N, C], what the layer's input is multiplied with: 0, or
//                     1 / (1 - probability)
//   noise.LAYER.factors, noise.LAYER.shifts   the same, what a layer of noise multiplies its input
//   with and then adds before.NAME, after.NAME   every parameter and running statistic around the
//   step, and the
//                     optimizer's state, as checkpoints name it: after.optimizer.velocity.fc.weight
//   output.logits     [N, classes]
//   gradient.NAME     gradient of the mean loss for every parameter, before clipping
// and as metadata step, epoch, learning_rate, loss, gradient_scale (the factor of clipping),
// optimizer_updates (before the step), accepted and digest (of the parameters and running
// statistics of after.*: what metrics.jsonl has), numbers in a form that reads back as the same
// double.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tensor/tensor.h"
#include "train/checkpoint.h"
#include "train/named_tensor.h"

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

  Tensor images;  // [N, H, W, C]
  Tensor labels;
  Tensor replica;
  Tensor sample_ids;
  // Of each layer that drops, channels last.
  std::vector<NamedTensor> dropouts;
  // Likewise, LAYER.factors and LAYER.shifts of each layer of noise.
  std::vector<NamedTensor> noises;
  Tensor logits;
  Tensor gradients;  // flat
  TrainingState before, after;

  // Added to the metadata.
  std::map<std::string, std::string> notes;
};

// Writes OUT/steps/NNNNNN.safetensors and returns its path. Throws what WriteFileAtomically throws.
std::filesystem::path WriteStepDump(const std::filesystem::path& out, const TensorLayouts& layouts,
                                    const StepDump& dump);

}  // namespace syncbn::train
