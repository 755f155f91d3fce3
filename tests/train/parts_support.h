// A small set of layouts and tensors, errors as texts, and files without care.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/error.h"
#include "nn/parameters.h"
#include "train/checkpoint.h"
#include "train/optimizer.h"

namespace syncbn::train {

// "DATA_LOSS: the message", or "nothing was thrown".
template <typename Body>
std::string ErrorOf(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return std::string(ErrorCodeName(error.code())) + ": " + error.message();
  }
  return "nothing was thrown";
}

// Without the syncs of WriteFileAtomically: tests write a thousand damaged files.
inline void WritePlainly(const std::filesystem::path& path, const std::string& content) {
  // ext4 syncs a file that is cut to nothing and written again, but not a new one.
  std::filesystem::remove(path);
  std::ofstream file(path, std::ios::binary);
  file << content;
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

// One parameter of each role, and two norms of which the second keeps no running statistics.
struct SmallModel {
  SmallModel() {
    using enum nn::ParameterRole;
    auto add = [&](std::string name, Shape shape, nn::ParameterRole role) {
      parameters.Add({.name = std::move(name), .shape = shape, .role = role});
    };
    add("conv1.weight", {2, 1, 3, 3}, kWeight);
    add("bn1.weight", {2}, kNormScale);
    add("bn1.bias", {2}, kNormShift);
    add("fc.weight_g", {3}, kWeightNormGain);
    add("fc.weight_v", {3, 2}, kWeight);
    add("fc.bias", {3}, kBias);
    running_statistics.Add("bn1", 2, /*tracked=*/true);
    running_statistics.Add("bn2", 5, /*tracked=*/false);
  }

  nn::ParameterLayout parameters;
  nn::RunningStatisticsLayout running_statistics;
};

// Elements start, start + 1, ... times `factor`, in the parameters only: the padding stays zero.
inline Tensor Ramp(const nn::ParameterLayout& layout, DType dtype, double start,
                   double factor = 1) {
  Tensor flat = Tensor::Zeros({layout.flat_elements()}, dtype);
  double next = start;
  for (int i = 0; i < layout.size(); ++i) {
    Tensor view = layout.View(flat, i);
    for (int64_t k = 0; k < view.elements(); ++k, next += 1) {
      if (dtype == DType::kFloat64) {
        view.Data<double>()[k] = next * factor;
      } else {
        view.Data<float>()[k] = static_cast<float>(next * factor);
      }
    }
  }
  return flat;
}

}  // namespace syncbn::train
