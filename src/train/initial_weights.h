// Weights and running statistics that a run begins with, from a file (model.init.from).
//
// A file fits when it has what the model has under the same names and in the same shapes, but for
// what `except` names. One difference is known and made up for: where a batch norm follows a
// convolution directly, the model's has no bias, for the norm takes it off again; a file's
// (torchvision's vgg*_bn have one) moves the norm's running mean.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "nn/model.h"
#include "train/checkpoint.h"
#include "train/safetensors.h"

namespace syncbn::train {

// A file of weights that was read.
struct WeightsFile {
  std::filesystem::path path;
  SafetensorsFile content;
};

// Throws as ReadSafetensors.
WeightsFile ReadWeights(const std::filesystem::path& path);

// Copies the file's tensors into the state's, both on the host, converting numbers of another
// floating type. `except`: patterns (base/pattern.h) of names that are left as they are, and that
// the file may have or not. Throws INVALID_ARGUMENT, having copied nothing, that lists what is
// missing, unknown or of another shape, with the nearest name, what is no number, and patterns that
// fit nothing.
void TakeWeights(const nn::Model& model, const WeightsFile& file,
                 std::span<const std::string> except, TrainingState& state);

// Throws what TakeWeights would: before anything is made for the run.
void CheckWeights(const nn::Model& model, const WeightsFile& file,
                  std::span<const std::string> except);

}  // namespace syncbn::train
