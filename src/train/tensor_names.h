// The tensors of a training run under their names: what checkpoints, dumped steps and digests list.
//
// Views into the flat tensors, in the order of the layouts: a parameter under its own name
// ("layer1.0.conv1.weight"), a running statistic under its layer's ("layer1.0.bn1.running_mean",
// "...running_var" [C], "...num_batches_tracked" []; F64). An iterative norm has
// "...running_covariance" [C, C] in place of the variance, and all three under
// layer1.0.bn1.groups.0, ... where its channels are several groups. Together they are, by
// AsStateDict, the state_dict that torchvision's model of the same name takes.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "nn/parameters.h"
#include "train/named_tensor.h"

namespace syncbn::train {

// Views of every parameter in `flat`: parameters, their gradients, or optimizer state.
std::vector<NamedTensor> ParameterTensors(const nn::ParameterLayout& layout, const Tensor& flat,
                                          std::string_view prefix = "");

// Views of every running statistic in `flat`. Norms without running statistics have none.
std::vector<NamedTensor> RunningTensors(const nn::RunningStatisticsLayout& layout,
                                        const Tensor& flat, std::string_view prefix = "");

// Tensors as PyTorch's state_dict has them: num_batches_tracked, a double here, is an int64 there
// (a copy; the others stay views). For files: what is digested stays as it is.
std::vector<NamedTensor> AsStateDict(std::vector<NamedTensor> tensors);
// The inverse; doubles, as older files have them, stay doubles.
std::vector<NamedTensor> FromStateDict(std::span<const NamedTensor> tensors);

// Digest of names, types, shapes and bytes, in order.
Digest DigestOf(std::span<const NamedTensor> tensors);

// Digest of all parameters and running statistics, wherever they live: equal digests mean that two runs are in the same
// state to the last bit.
Digest StateDigest(const nn::ParameterLayout& parameter_layout,
                   const nn::RunningStatisticsLayout& running_layout, const Tensor& parameters,
                   const Tensor& running);

// Copies the elements of each tensor of `from` into the tensor of the same name in `to`. Throws
// FAILED_PRECONDITION, copying nothing, unless both have the same names with the same types and
// shapes; the message begins with `source` (where `from` came from) and names what is missing, too
// much or different.
void CopyByName(std::span<const NamedTensor> from, std::span<NamedTensor> to,
                std::string_view source);

}  // namespace syncbn::train
