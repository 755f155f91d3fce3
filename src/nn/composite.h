// Layers made of layers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/layer.h"
#include "nn/norm.h"

namespace syncbn::nn {

// One after the other. Without layers it is the identity.
class Sequential : public Layer {
 public:
  Sequential(std::string name, std::vector<std::unique_ptr<Layer>> layers)
      : Layer(std::move(name)), layers_(std::move(layers)) {}

  Shape OutputShape(const Shape& input) const override;
  Tensor Forward(Tensor x, StepContext& context) const override;
  Tensor Backward(Tensor dy, StepContext& context) const override;
  Description Describe() const override;
  bool composite() const override { return true; }

 private:
  const std::vector<std::unique_ptr<Layer>> layers_;
};

// body(x) + shortcut(x) (He et al. 2015).
//
// A norm that ends the body may be given apart, as `last`: it then adds the shortcut (and applies
// ReLU, if that was fused into it) in its own pass over memory, and its message of statistics is
// under way while the shortcut computes.
class Residual : public Layer {
 public:
  // last may be null.
  Residual(std::string name, std::unique_ptr<Sequential> body, std::unique_ptr<Norm> last,
           std::unique_ptr<Sequential> shortcut);

  // Throws INVALID_ARGUMENT when body and shortcut do not end in the same shape.
  Shape OutputShape(const Shape& input) const override;
  Tensor Forward(Tensor x, StepContext& context) const override;
  Tensor Backward(Tensor dy, StepContext& context) const override;
  Description Describe() const override;
  bool composite() const override { return true; }

 private:
  const std::unique_ptr<Sequential> body_;
  const std::unique_ptr<Norm> last_;
  const std::unique_ptr<Sequential> shortcut_;
};

// The channels of several branches over the same input, one behind the other (Szegedy et al. 2015).
class Concat : public Layer {
 public:
  // At least one branch.
  Concat(std::string name, std::vector<std::unique_ptr<Sequential>> branches);

  // Throws INVALID_ARGUMENT when the branches do not end in the same height and width.
  Shape OutputShape(const Shape& input) const override;
  Tensor Forward(Tensor x, StepContext& context) const override;
  Tensor Backward(Tensor dy, StepContext& context) const override;
  Description Describe() const override;
  bool composite() const override { return true; }

 private:
  const std::vector<std::unique_ptr<Sequential>> branches_;
};

}  // namespace syncbn::nn
