#include "nn/weighted_layers.h"

#include <utility>
#include <vector>

namespace syncbn::nn {
namespace {

// The gain is stored as PyTorch's weight_g is, [out, 1, 1, 1]; back ends see [out].
Tensor AsVector(const Tensor& gain) {
  return gain.Reshape({gain.elements()});
}

backend::GradientOut AsVector(backend::GradientOut out) {
  out.tensor = AsVector(out.tensor);
  return out;
}

}  // namespace

Tensor WeightedLayer::Forward(Tensor x, StepContext& context) const {
  Tensor weight = context.Use(parameters_.weight);
  const Tensor bias = parameters_.bias ? context.Use(*parameters_.bias) : Tensor();
  std::vector<Tensor> saved = {x};
  if (parameters_.gain) {
    backend::WeightNormResult result =
        context.executor().WeightNormForward(weight, AsVector(context.Use(*parameters_.gain)));
    weight = std::move(result.weight);
    saved.push_back(weight);
    saved.push_back(std::move(result.norms));
  }
  Tensor y = Apply(x, weight, bias, context);
  context.Save({.owner = this, .tensors = std::move(saved)});
  return y;
}

Tensor WeightedLayer::Backward(Tensor dy, StepContext& context) const {
  StepContext::Record record = context.Restore(this);
  const Shape x_shape = record.tensors[0].shape();
  const Tensor weight =
      parameters_.gain ? record.tensors[1] : context.Parameter(parameters_.weight);
  const auto input_gradient = [&] {
    if (first_ && !context.inputs().input_gradient) return Tensor();
    return InputGradient(x_shape, dy, weight, context);
  };
  if (!context.defers()) {
    ParameterGradients(record, dy, context);
    record.tensors[0] = Tensor();  // the input's memory may serve for its gradient
    return input_gradient();
  }
  Tensor dx = input_gradient();
  context.Defer([this, record = std::move(record), dy, &context] {
    InLayer(*this, "backward", context, [&] { ParameterGradients(record, dy, context); });
  });
  return dx;
}

void WeightedLayer::ParameterGradients(const StepContext::Record& record, const Tensor& dy,
                                       StepContext& context) const {
  const Tensor& x = record.tensors[0];
  const bool weight_trains = context.IsTrained(parameters_.weight) ||
                             (parameters_.gain && context.IsTrained(*parameters_.gain));
  const bool bias_trains = parameters_.bias && context.IsTrained(*parameters_.bias);
  const backend::GradientOut dbias =
      bias_trains ? context.Gradient(*parameters_.bias) : backend::GradientOut{};
  if (!weight_trains && !bias_trains) {
    // Nobody wants them.
  } else if (parameters_.gain) {
    Tensor dweight =
        context.executor().New(record.tensors[1].shape(), context.executor().types().gradients);
    WeightGradients(x, dy, {.tensor = dweight}, dbias, context);
    context.executor().WeightNormBackward(
        context.Parameter(parameters_.weight), AsVector(context.Parameter(*parameters_.gain)),
        record.tensors[2], dweight, context.Gradient(parameters_.weight),
        AsVector(context.Gradient(*parameters_.gain)));
  } else {
    WeightGradients(x, dy, context.Gradient(parameters_.weight), dbias, context);
  }
  // In the reverse of the order in which they are declared: that of the layout, from its end.
  if (parameters_.bias) context.GradientDone(*parameters_.bias);
  if (parameters_.gain) context.GradientDone(*parameters_.gain);
  context.GradientDone(parameters_.weight);
}

Shape Conv2d::OutputShape(const Shape& input) const {
  return WithFrame([&] { return "layer " + name(); }, [&] { return spec_.OutputShape(input); });
}

Tensor Conv2d::Apply(const Tensor& x, const Tensor& weight, const Tensor& bias,
                     StepContext& context) const {
  return context.executor().Conv2dForward(spec_, x, weight, bias);
}

void Conv2d::WeightGradients(const Tensor& x, const Tensor& dy, backend::GradientOut dweight,
                             backend::GradientOut dbias, StepContext& context) const {
  context.executor().Conv2dBackwardWeights(spec_, x, dy, dweight, dbias);
}

Tensor Conv2d::InputGradient(const Shape& x_shape, const Tensor& dy, const Tensor& weight,
                             StepContext& context) const {
  return context.executor().Conv2dBackwardInput(spec_, x_shape, dy, weight);
}

Shape Linear::OutputShape(const Shape& input) const {
  if (input.rank() != 2) {
    throw Error(ErrorCode::kInvalidArgument,
                "linear: the input " + input.ToString() +
                    " is not [N, features]; put a `flatten` or a `global_average_pool` before it")
        .AddFrame("layer " + name());
  }
  if (input.channels() != in_) {
    throw Error(ErrorCode::kInvalidArgument, "linear: the layer takes " + std::to_string(in_) +
                                                 " features, the input " + input.ToString() +
                                                 " has " + std::to_string(input.channels()))
        .AddFrame("layer " + name());
  }
  return {input[0], out_};
}

Tensor Linear::Apply(const Tensor& x, const Tensor& weight, const Tensor& bias,
                     StepContext& context) const {
  return context.executor().LinearForward(x, weight, bias);
}

void Linear::WeightGradients(const Tensor& x, const Tensor& dy, backend::GradientOut dweight,
                             backend::GradientOut dbias, StepContext& context) const {
  context.executor().LinearBackwardWeights(x, dy, dweight, dbias);
}

Tensor Linear::InputGradient(const Shape& x_shape, const Tensor& dy, const Tensor& weight,
                             StepContext& context) const {
  return context.executor().LinearBackwardInput(dy, weight);
}

}  // namespace syncbn::nn
