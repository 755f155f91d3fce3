// A layer: a description with const passes. What a pass leaves behind is in the StepContext.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "nn/description.h"
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
  // The first layer with a weight returns an undefined tensor when the context asks for no gradient
  // of the images; only `flatten` may stand before it.
  virtual Tensor Backward(Tensor dy, StepContext& context) const = 0;

  // What an observer is told that the layer's output is: more than "output" where others were fused
  // into the layer.
  virtual std::string_view output_is() const { return "output"; }

  // Of a layer that nothing was fused into (BuildOptions); its layers live as long as it.
  virtual Description Describe() const { return Undescribed{}; }

  // Made of layers, which report themselves.
  virtual bool composite() const { return false; }

 private:
  std::string name_;
};

// Runs body as `layer`'s part of a pass: tells whoever watches the replica, and names the layer in
// errors. `phase` is a literal: "forward" or "backward".
template <typename Body>
decltype(auto) InLayer(const Layer& layer, std::string_view phase, StepContext& context,
                       Body&& body) {
  const StepContext::Inside inside(context, phase, layer.name());
  return WithFrame([&] { return "layer " + layer.name(); }, std::forward<Body>(body));
}

// layer.Forward and layer.Backward with report, frame and observation; composites are called bare.
Tensor RunForward(const Layer& layer, Tensor x, StepContext& context);
Tensor RunBackward(const Layer& layer, Tensor dy, StepContext& context);

}  // namespace syncbn::nn
