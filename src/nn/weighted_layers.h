// Layers with a weight: convolution and fully connected. The weight is a parameter, or g v / |v| of
// two parameters (Salimans and Kingma 2016), of which the layer does not notice more.
#pragma once

#include <optional>
#include <string>

#include "backend/specs.h"
#include "nn/layer.h"

namespace syncbn::nn {

// Indices of parameters in the layout.
struct WeightParameters {
  int weight = 0;  // with a gain: v
  std::optional<int> gain = std::nullopt;
  std::optional<int> bias = std::nullopt;
};

class WeightedLayer : public Layer {
 public:
  // first: its input is the images (perhaps flattened), whose gradient is computed only when the
  // context asks for it.
  WeightedLayer(std::string name, WeightParameters parameters, bool first)
      : Layer(std::move(name)), parameters_(parameters), first_(first) {}

  Tensor Forward(Tensor x, StepContext& context) const final;
  Tensor Backward(Tensor dy, StepContext& context) const final;

 protected:
  const WeightParameters& parameters() const { return parameters_; }
  virtual Tensor Apply(const Tensor& x, const Tensor& weight, const Tensor& bias,
                       StepContext& context) const = 0;
  virtual void WeightGradients(const Tensor& x, const Tensor& dy, backend::GradientOut dweight,
                               backend::GradientOut dbias, StepContext& context) const = 0;
  virtual Tensor InputGradient(const Shape& x_shape, const Tensor& dy, const Tensor& weight,
                               StepContext& context) const = 0;

 private:
  // `record` is what Forward has left.
  void ParameterGradients(const StepContext::Record& record, const Tensor& dy,
                          StepContext& context) const;

  const WeightParameters parameters_;
  const bool first_;
};

// [N,H,W,C] -> [N,OH,OW,O]
class Conv2d : public WeightedLayer {
 public:
  Conv2d(std::string name, const backend::Conv2dSpec& spec, WeightParameters parameters, bool first)
      : WeightedLayer(std::move(name), parameters, first), spec_(spec) {}

  Shape OutputShape(const Shape& input) const override;
  Description Describe() const override {
    return ConvolutionOf{.spec = spec_,
                         .weight = parameters().weight,
                         .gain = parameters().gain,
                         .bias = parameters().bias};
  }

 protected:
  Tensor Apply(const Tensor& x, const Tensor& weight, const Tensor& bias,
               StepContext& context) const override;
  void WeightGradients(const Tensor& x, const Tensor& dy, backend::GradientOut dweight,
                       backend::GradientOut dbias, StepContext& context) const override;
  Tensor InputGradient(const Shape& x_shape, const Tensor& dy, const Tensor& weight,
                       StepContext& context) const override;

 private:
  const backend::Conv2dSpec spec_;
};

// [N,in] -> [N,out]
class Linear : public WeightedLayer {
 public:
  Linear(std::string name, int64_t in, int64_t out, WeightParameters parameters, bool first)
      : WeightedLayer(std::move(name), parameters, first), in_(in), out_(out) {}

  Shape OutputShape(const Shape& input) const override;
  Description Describe() const override {
    return LinearOf{
        .weight = parameters().weight, .gain = parameters().gain, .bias = parameters().bias};
  }

 protected:
  Tensor Apply(const Tensor& x, const Tensor& weight, const Tensor& bias,
               StepContext& context) const override;
  void WeightGradients(const Tensor& x, const Tensor& dy, backend::GradientOut dweight,
                       backend::GradientOut dbias, StepContext& context) const override;
  Tensor InputGradient(const Shape& x_shape, const Tensor& dy, const Tensor& weight,
                       StepContext& context) const override;

 private:
  const int64_t in_, out_;
};

}  // namespace syncbn::nn
