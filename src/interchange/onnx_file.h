// A trained model as ONNX, for inference elsewhere (https://onnx.ai; opset 17).
//
// One input, `images`, float [batch, C, H, W]: pixels / 255, standardized as in training. One
// output, `logits`, float [batch, classes]. Batch norms use their running statistics; what acts in
// training alone is left out. Weights have the names that they have in PyTorch.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "interchange/state_dict.h"
#include "nn/model.h"

namespace syncbn::interchange {

struct OnnxOptions {
  // See fold.h.
  bool fold_batch_norms = false;
  // Of the program that writes it.
  std::string version;
  // What else is to be known of the model.
  std::map<std::string, std::string> metadata;
};

// The bytes of the file. `model` is a build in which nothing is fused (nn::BuildOptions). Throws
// UNIMPLEMENTED naming the layer for those that have no such form: recurrent layers, iterative
// norms, norms without running statistics (they look at the batch); OUT_OF_RANGE for more than 2
// GiB.
std::string OnnxModel(const nn::Model& model, const Weights& weights, const OnnxOptions& options);

}  // namespace syncbn::interchange
