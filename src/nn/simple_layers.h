// Layers without parameters: activations, pools, changes of layout, dropout.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "backend/specs.h"
#include "nn/layer.h"
#include "nn/model.h"

namespace syncbn::nn {

// Any shape -> the same shape.
class Activation : public Layer {
 public:
  Activation(std::string name, backend::ActivationKind kind)
      : Layer(std::move(name)), kind_(kind) {}
  Shape OutputShape(const Shape& input) const override { return input; }
  Tensor Forward(Tensor x, StepContext& context) const override;
  Tensor Backward(Tensor dy, StepContext& context) const override;
  Description Describe() const override { return ElementwiseOf{.kind = kind_}; }

 private:
  const backend::ActivationKind kind_;
};

// [N,H,W,C] -> [N,OH,OW,C]
class Pool2d : public Layer {
 public:
  Pool2d(std::string name, const backend::Pool2dSpec& spec) : Layer(std::move(name)), spec_(spec) {}
  Shape OutputShape(const Shape& input) const override;
  Tensor Forward(Tensor x, StepContext& context) const override;
  Tensor Backward(Tensor dy, StepContext& context) const override;
  Description Describe() const override { return PoolOf{.spec = spec_}; }

 private:
  const backend::Pool2dSpec spec_;
};

// [N,H,W,C] -> [N,C]
class GlobalAveragePool : public Layer {
 public:
  using Layer::Layer;
  Description Describe() const override { return GlobalAveragePoolOf{}; }
  Shape OutputShape(const Shape& input) const override;
  Tensor Forward(Tensor x, StepContext& context) const override;
  Tensor Backward(Tensor dy, StepContext& context) const override;
};

// [N,H,W,C] -> [N, C*H*W], in the order C, H, W: a linear layer's weights are then PyTorch's.
class Flatten : public Layer {
 public:
  using Layer::Layer;
  Description Describe() const override { return FlattenOf{}; }
  Shape OutputShape(const Shape& input) const override;
  Tensor Forward(Tensor x, StepContext& context) const override;
  Tensor Backward(Tensor dy, StepContext& context) const override;
};

// Any shape -> the same shape. When training, an element is set to 0 with `probability` and the
// others grow by 1 / (1 - probability); which ones depends on the sample, the epoch and the layer's
// name, not on where the sample lies (Srivastava et al. 2014).
class Dropout : public Layer {
 public:
  Dropout(std::string name, double probability)
      : Layer(std::move(name)), probability_(probability) {}
  Shape OutputShape(const Shape& input) const override { return input; }
  Tensor Forward(Tensor x, StepContext& context) const override;
  Tensor Backward(Tensor dy, StepContext& context) const override;
  Description Describe() const override { return IdentityOf{}; }

 private:
  const double probability_;
};

// Noise on the output of a norm (Santurkar et al. 2018), when training: see backend::NoiseSpec.
// What a channel draws depends on the step and the layer's name, what an element draws on the
// sample, the epoch and the layer's name.
class Noise : public Layer {
 public:
  // Of `noise` the key is not used.
  Noise(std::string name, const backend::NoiseSpec& noise)
      : Layer(std::move(name)), noise_(noise) {}
  Shape OutputShape(const Shape& input) const override { return input; }
  Tensor Forward(Tensor x, StepContext& context) const override;
  Tensor Backward(Tensor dy, StepContext& context) const override;
  Description Describe() const override { return IdentityOf{}; }

 private:
  const backend::NoiseSpec noise_;
};

// What a training pass multiplies the layer's input with, and what it adds then; of the executor's
// type [samples, ...].
struct NoiseDraws {
  Tensor factors, shifts;
};
NoiseDraws DrawNoise(backend::Executor& executor, const NoiseSite& site, uint64_t seed,
                     int64_t epoch, int64_t step, std::span<const uint64_t> sample_ids);

// What a training pass multiplies the layer's input with, of the executor's type [samples, ...]: 0,
// or 1 / (1 - probability).
Tensor DropoutFactors(backend::Executor& executor, const DropoutSite& site, uint64_t seed,
                      int64_t epoch, std::span<const uint64_t> sample_ids);

}  // namespace syncbn::nn
