#include "nn/composite.h"

#include <algorithm>
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

Description Sequential::Describe() const {
  SequenceOf sequence;
  for (const auto& layer : layers_) sequence.layers.push_back(layer.get());
  return sequence;
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

Description Residual::Describe() const {
  SYNCBN_CHECK(last_ == nullptr) << name() << " has the last norm fused into its sum";
  return SumOf{.body = body_.get(), .shortcut = shortcut_.get()};
}

Concat::Concat(std::string name, std::vector<std::unique_ptr<Sequential>> branches)
    : Layer(std::move(name)), branches_(std::move(branches)) {
  SYNCBN_CHECK(!branches_.empty()) << this->name();
}

Shape Concat::OutputShape(const Shape& input) const {
  Shape whole = branches_[0]->OutputShape(input);
  int64_t channels = 0;
  for (size_t i = 0; i < branches_.size(); ++i) {
    const Shape part = branches_[i]->OutputShape(input);
    channels += part.channels();
    if (part.rank() == whole.rank() &&
        std::ranges::equal(part.extents().first(part.extents().size() - 1),
                           whole.extents().first(whole.extents().size() - 1))) {
      continue;
    }
    throw Error(ErrorCode::kInvalidArgument, "concat: branch 0 ends in " + whole.ToString() +
                                                 " and branch " + std::to_string(i) + " in " +
                                                 part.ToString() +
                                                 "; all must leave the same height and width")
        .AddFrame("layer " + name());
  }
  std::vector<int64_t> extents(whole.extents().begin(), whole.extents().end());
  extents.back() = channels;
  return Shape(extents);
}

Tensor Concat::Forward(Tensor x, StepContext& context) const {
  std::vector<Tensor> parts;
  std::vector<Shape> shapes;
  for (const auto& branch : branches_) {
    parts.push_back(branch->Forward(x, context));
    shapes.push_back(parts.back().shape());
  }
  Tensor y =
      InLayer(*this, "forward", context, [&] { return context.executor().ConcatChannels(parts); });
  context.Save({.owner = this, .shapes = std::move(shapes)});
  context.ObserveOutput(name(), "output", y);
  return y;
}

Tensor Concat::Backward(Tensor dy, StepContext& context) const {
  const StepContext::Record record = context.Restore(this);
  context.WatchOutputGradient(name(), dy);
  int64_t end = dy.shape().channels();
  Tensor dx;
  // The reverse order of the forward pass: the tape insists on it.
  for (size_t i = branches_.size(); i-- > 0;) {
    const int64_t channels = record.shapes[i].channels();
    end -= channels;
    Tensor part = InLayer(*this, "backward", context,
                          [&] { return context.executor().SliceChannels(dy, end, channels); });
    part = branches_[i]->Backward(std::move(part), context);
    dx = dx.defined() ? InLayer(*this, "backward", context,
                                [&] { return context.executor().Add(std::move(dx), part); })
                      : std::move(part);
  }
  context.Observe(name(), "gradient", dx);
  return dx;
}

Description Concat::Describe() const {
  ConcatOf concat;
  for (const auto& branch : branches_) concat.branches.push_back(branch.get());
  return concat;
}

}  // namespace syncbn::nn
