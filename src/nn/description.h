// What layers compute in evaluation, as data: for whoever writes a model down for another program.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "backend/specs.h"

namespace syncbn::nn {

class Layer;

// Indices of parameters in the layout of the model, here and below.
struct ConvolutionOf {
  backend::Conv2dSpec spec;
  int weight = 0;
  std::optional<int> gain, bias;  // with a gain the weight is gain v / |v|, v being `weight`
};
struct LinearOf {
  int weight = 0;
  std::optional<int> gain, bias;
};
// By its running statistics, at this index of their layout; where those are not tracked, by
// statistics of the batch.
struct BatchNormOf {
  std::optional<int> gamma, beta;
  double epsilon = 0;
  int statistics = 0;
};
// Over `groups` groups of consecutive channels and over height and width, of each sample.
struct SampleNormOf {
  std::optional<int> gamma, beta;
  double epsilon = 0;
  int64_t channels = 0, groups = 1;
};
struct ElementwiseOf {
  backend::ActivationKind kind = backend::ActivationKind::kRelu;
};
struct PoolOf {
  backend::Pool2dSpec spec;
};
// [N, H, W, C] -> [N, C]
struct GlobalAveragePoolOf {};
// [N, H, W, C] -> [N, C H W], in the order C, H, W
struct FlattenOf {};
// What acts in training alone.
struct IdentityOf {};
struct SequenceOf {
  std::vector<const Layer*> layers;
};
struct SumOf {
  const Layer* body = nullptr;
  const Layer* shortcut = nullptr;
};
struct ConcatOf {
  std::vector<const Layer*> branches;
};
// What has no description.
struct Undescribed {};

using Description =
    std::variant<Undescribed, ConvolutionOf, LinearOf, BatchNormOf, SampleNormOf, ElementwiseOf,
                 PoolOf, GlobalAveragePoolOf, FlattenOf, IdentityOf, SequenceOf, SumOf, ConcatOf>;

}  // namespace syncbn::nn
