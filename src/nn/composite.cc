#include "nn/composite.h"

#include <utility>

#include "base/check.h"

namespace syncbn::nn {

Shape Sequential::OutputShape(const Shape& input) const {
  Shape shape = input;
  for (const auto& layer : layers_) shape = layer->OutputShape(shape);
  return shape;
}

Tensor Sequential::Forward(Tensor x, StepContext& context) const {
  for (const auto& layer : layers_) x = RunForward(*layer, std::move(x), context);
  return x;
}

Tensor Sequential::Backward(Tensor dy, StepContext& context) const {
  for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
    dy = RunBackward(**layer, std::move(dy), context);
  }
  return dy;
}

Residual::Residual(std::string name, std::unique_ptr<Sequential> body, std::unique_ptr<Norm> last,
                   std::unique_ptr<Sequential> shortcut)
    : Layer(std::move(name)),
      body_(std::move(body)),
      last_(std::move(last)),
      shortcut_(std::move(shortcut)) {
  SYNCBN_CHECK(body_ != nullptr && shortcut_ != nullptr) << this->name();
}

Shape Residual::OutputShape(const Shape& input) const {
  Shape main = body_->OutputShape(input);
  if (last_ != nullptr) main = last_->OutputShape(main);
  const Shape side = shortcut_->OutputShape(input);
  if (main == side) return main;
  throw Error(ErrorCode::kInvalidArgument, "residual: the body ends in " + main.ToString() +
                                               " and the shortcut in " + side.ToString() +
                                               "; a shortcut of a 1 x 1 `conv` can make them equal")
      .AddFrame("layer " + name());
}

Tensor Residual::Forward(Tensor x, StepContext& context) const {
  Tensor main = body_->Forward(x, context);
  if (last_ == nullptr) {
    const Tensor side = shortcut_->Forward(std::move(x), context);
    Tensor y = InLayer(*this, "forward", context,
                       [&] { return context.executor().Add(std::move(main), side); });
    context.ObserveOutput(name(), "output", y);
    return y;
  }
  Norm::Pending pending =
      InLayer(*last_, "forward", context, [&] { return last_->Start(std::move(main), context); });
  const Tensor side = shortcut_->Forward(std::move(x), context);
  Tensor y = InLayer(*last_, "forward", context,
                     [&] { return last_->Finish(std::move(pending), side, context); });
  context.ObserveOutput(last_->name(), last_->sum_is(), y);
  return y;
}

Tensor Residual::Backward(Tensor dy, StepContext& context) const {
  Tensor side;
  context.WatchOutputGradient(last_ == nullptr ? name() : last_->name(), dy);
  if (last_ == nullptr) {
    side = dy;
  } else {
    dy = InLayer(*last_, "backward", context,
                 [&] { return last_->Backward(std::move(dy), &side, context); });
    context.Observe(last_->name(), "gradient", dy);
  }
  // The reverse order of the forward pass: the tape insists on it.
  side = shortcut_->Backward(std::move(side), context);
  Tensor main = body_->Backward(std::move(dy), context);
  Tensor dx = InLayer(*this, "backward", context,
                      [&] { return context.executor().Add(std::move(main), side); });
  context.Observe(name(), "gradient", dx);
  return dx;
}

}  // namespace syncbn::nn
