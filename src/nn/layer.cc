#include "nn/layer.h"

namespace syncbn::nn {

Tensor RunForward(const Layer& layer, Tensor x, StepContext& context) {
  if (layer.composite()) return layer.Forward(std::move(x), context);
  Tensor y =
      InLayer(layer, "forward", context, [&] { return layer.Forward(std::move(x), context); });
  context.ObserveOutput(layer.name(), layer.output_is(), y);
  return y;
}

Tensor RunBackward(const Layer& layer, Tensor dy, StepContext& context) {
  if (layer.composite()) return layer.Backward(std::move(dy), context);
  context.WatchOutputGradient(layer.name(), dy);
  Tensor dx =
      InLayer(layer, "backward", context, [&] { return layer.Backward(std::move(dy), context); });
  if (dx.defined()) context.Observe(layer.name(), "gradient", dx);
  return dx;
}

}  // namespace syncbn::nn
