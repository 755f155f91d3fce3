// A layer: a description with const passes. What a pass leaves behind is in the StepContext.
#pragma once

#include <string>

#include "nn/step_context.h"
#include "tensor/tensor.h"

namespace syncbn::nn {

class Layer {
 public:
  explicit Layer(std::string name) : name_(std::move(name)) {}
  virtual ~Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  // "layer1.0.conv1": prefix of its parameters' names, and what errors call it.
  const std::string& name() const { return name_; }

  // Shape of the output for an input of this shape. Throws INVALID_ARGUMENT, naming the layer, when
  // the input does not fit.
  virtual Shape OutputShape(const Shape& input) const = 0;
  // x has the replica's samples along the first axis (maybe none).
  virtual Tensor Forward(Tensor x, StepContext& context) const = 0;
  // From d loss / d output to d loss / d input; adds parameter gradients to the context.
  virtual Tensor Backward(Tensor dy, StepContext& context) const = 0;

 private:
  std::string name_;
};

}  // namespace syncbn::nn
