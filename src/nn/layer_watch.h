// Who looks at the layers in a pass: probes.
#pragma once

#include <string_view>

#include "backend/specs.h"
#include "tensor/tensor.h"

namespace syncbn::nn {

// Looks at what layers give and receive where it lies: on the device, in the order of the pass's
// executor and on its thread. A tensor may be overwritten once the call has returned. A layer that
// is used several times in a pass comes several times.
class LayerWatch {
 public:
  virtual ~LayerWatch() = default;
  // Of what Layer::output_is() says.
  virtual void OnOutput(std::string_view layer, const Tensor& y) = 0;
  // Of a layer that is an activation function, before its output: what backend::Executor's
  // ActivationBackward computes its derivative from.
  virtual void OnActivation(std::string_view layer, backend::ActivationKind kind,
                            const Tensor& kept) {}
  // d loss / d output, of the same tensor; kTrain only.
  virtual void OnOutputGradient(std::string_view layer, const Tensor& dy) = 0;
};

}  // namespace syncbn::nn
