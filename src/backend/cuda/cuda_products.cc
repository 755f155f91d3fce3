// Convolutions and linear layers, by libraries.
#include <cstdint>
#include <utility>

#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/kernels/bias.h"
#include "backend/cuda/kernels/elementwise.h"
#include "backend/cuda/kernels/filters.h"

namespace syncbn::backend::cuda {
namespace {

int64_t Window(const Conv2dSpec& spec) {
  return spec.kernel_h * spec.kernel_w;
}
int64_t InputsOfGroup(const Conv2dSpec& spec) {
  return spec.in_channels / spec.groups;
}

bool IsAligned16(const Tensor& x) {
  return reinterpret_cast<uintptr_t>(x.DeviceAddress()) % 16 == 0;
}

void CheckWeight(const Conv2dSpec& spec, const Tensor& weight) {
  SYNCBN_CHECK_EQ(weight.shape(), spec.WeightShape()) << "weight of a convolution";
}

}  // namespace

void CudaExecutor::SetWeightsVersion(WeightsVersion version) {
  filters_.SetVersion(version);
}

Tensor CudaExecutor::Packed(const Conv2dSpec& spec, const Tensor& weight, DType type) {
  CheckWeight(spec, weight);
  // With a window of one element, or one input channel, both layouts are the same. But parameters
  // lie one behind the other (Aligned).
  const bool same = Window(spec) == 1 || InputsOfGroup(spec) == 1;
  if (same && (weight.dtype() != type || IsAligned16(weight))) {
    return Converted(weight, type);
  }
  Tensor filter = filters_.Find(weight, type);
  if (filter.defined()) return filter;
  filter = New(weight.shape(), type);
  ForElements(filter, [&](auto element) {
    using T = decltype(element);
    const float* from = In<float>(weight);
    T* const to = Out<T>(filter);
    Run("pack filter", [&](cudaStream_t stream) {
      kernels::PackFilter(stream, from, to, spec.out_channels, InputsOfGroup(spec), Window(spec));
    });
  });
  filters_.Keep(weight, filter);
  return filter;
}

// cuDNN's kernels read 16 bytes at a time, and its heuristics are not told of addresses.
Tensor CudaExecutor::Aligned(const Tensor& x) {
  return IsAligned16(x) ? x : Clone(x);
}

Tensor CudaExecutor::Converted(const Tensor& weight, DType type) {
  if (weight.dtype() == type) return weight;
  Tensor converted = filters_.Find(weight, type);
  if (converted.defined()) return converted;
  converted = Convert(weight, type);
  filters_.Keep(weight, converted);
  return converted;
}

void CudaExecutor::BiasGradient(const Tensor& dy, GradientOut gradient) {
  if (!gradient.tensor.defined()) return;
  const int64_t channels = dy.shape().channels(), rows = dy.shape().rows();
  SYNCBN_CHECK_EQ(gradient.tensor.elements(), channels) << "gradient of a bias";
  float* const to = Out<float>(gradient.tensor);
  ForElements(dy, [&](auto element) {
    using T = decltype(element);
    const Tensor scratch = New({kernels::BiasGradientScratch<T>(rows, channels)}, DType::kFloat64);
    const T* const from = In<T>(dy);
    double* const memory = Out<double>(scratch);
    Run("gradient of a bias", [&](cudaStream_t stream) {
      kernels::BiasGradient(stream, from, rows, channels, gradient.accumulate, to, memory);
    });
  });
}

void CudaExecutor::AddBias(Tensor& y, const Tensor& bias) {
  if (!bias.defined()) return;
  SYNCBN_CHECK_EQ(bias.elements(), y.shape().channels()) << "bias";
  const float* added = In<float>(bias);
  ForElements(y, [&](auto element) {
    auto* const to = Out<decltype(element)>(y);
    Run("add bias", [&](cudaStream_t stream) {
      kernels::AddBias(stream, to, added, y.shape().rows(), y.shape().channels());
    });
  });
}

Tensor CudaExecutor::Conv2dForward(const Conv2dSpec& spec, const Tensor& x, const Tensor& weight,
                                   const Tensor& bias) {
  Tensor y = New(spec.OutputShape(x.shape()), x.dtype());
  const Tensor filter = Packed(spec, weight, x.dtype());
  if (y.elements() == 0) return y;
  const Tensor input = Aligned(x);
  libraries_->ConvolutionForward(spec, x.shape(), FactorOf(input), FactorOf(filter), ResultOf(y));
  AddBias(y, bias);
  return y;
}

Tensor CudaExecutor::Conv2dBackwardInput(const Conv2dSpec& spec, const Shape& x_shape,
                                         const Tensor& dy, const Tensor& weight) {
  SYNCBN_CHECK_EQ(dy.shape(), spec.OutputShape(x_shape)) << "gradient of a convolution";
  Tensor dx = New(x_shape, dy.dtype());
  const Tensor filter = Packed(spec, weight, dy.dtype());
  if (dx.elements() == 0) return dx;
  const Tensor gradient = Aligned(dy);
  libraries_->ConvolutionBackwardInput(spec, x_shape, FactorOf(gradient), FactorOf(filter),
                                       ResultOf(dx));
  return dx;
}

void CudaExecutor::Conv2dBackwardWeights(const Conv2dSpec& spec, const Tensor& x, const Tensor& dy,
                                         GradientOut dweight, GradientOut dbias) {
  SYNCBN_CHECK_EQ(dy.shape(), spec.OutputShape(x.shape())) << "gradient of a convolution";
  CheckWeight(spec, dweight.tensor);
  BiasGradient(dy, std::move(dbias));
  if (dy.elements() == 0) {
    if (!dweight.accumulate) Zero(dweight.tensor);
    return;
  }
  // In the type of its factors: cuDNN has no other.
  const Tensor gradient = New(dweight.tensor.shape(), x.dtype());
  const Tensor input = Aligned(x), of_output = Aligned(dy);
  libraries_->ConvolutionBackwardFilter(spec, x.shape(), FactorOf(input), FactorOf(of_output),
                                        ResultOf(gradient));
  float* const to = Out<float>(dweight.tensor);
  ForElements(gradient, [&](auto element) {
    const auto* const from = In<decltype(element)>(gradient);
    Run("unpack filter", [&](cudaStream_t stream) {
      kernels::UnpackFilter(stream, from, to, spec.out_channels, InputsOfGroup(spec), Window(spec),
                            dweight.accumulate);
    });
  });
}

// y [n, out] = x weight^T + bias
Tensor CudaExecutor::LinearForward(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const int64_t samples = x.shape()[0], inputs = weight.shape()[1], outputs = weight.shape()[0];
  SYNCBN_CHECK_EQ(x.shape(), (Shape{samples, inputs})) << "input of a linear layer";
  Tensor y = New({samples, outputs}, x.dtype());
  if (samples == 0) return y;
  libraries_->Multiply({.rows = samples,
                        .depth = inputs,
                        .columns = outputs,
                        .transpose_b = true,
                        .a = FactorOf(x),
                        .b = FactorOf(Converted(weight, x.dtype())),
                        .c = ResultOf(y)});
  AddBias(y, bias);
  return y;
}

// dx [n, in] = dy weight
Tensor CudaExecutor::LinearBackwardInput(const Tensor& dy, const Tensor& weight) {
  const int64_t samples = dy.shape()[0], inputs = weight.shape()[1], outputs = weight.shape()[0];
  SYNCBN_CHECK_EQ(dy.shape(), (Shape{samples, outputs})) << "gradient of a linear layer";
  Tensor dx = New({samples, inputs}, dy.dtype());
  if (samples == 0) return dx;
  libraries_->Multiply({.rows = samples,
                        .depth = outputs,
                        .columns = inputs,
                        .a = FactorOf(dy),
                        .b = FactorOf(Converted(weight, dy.dtype())),
                        .c = ResultOf(dx)});
  return dx;
}

// dweight [out, in] (+)= dy^T x
void CudaExecutor::LinearBackwardWeights(const Tensor& x, const Tensor& dy, GradientOut dweight,
                                         GradientOut dbias) {
  const int64_t samples = x.shape()[0], inputs = x.shape()[1], outputs = dy.shape()[1];
  SYNCBN_CHECK_EQ(dy.shape(), (Shape{samples, outputs})) << "gradient of a linear layer";
  BiasGradient(dy, std::move(dbias));
  if (samples == 0) {
    if (!dweight.accumulate) Zero(dweight.tensor);
    return;
  }
  // Into memory of its own where it is added to what is there: the sum of a step is then that of
  // whole gradients, in the order of the passes.
  Tensor gradient = dweight.accumulate ? New({outputs, inputs}, DType::kFloat32) : dweight.tensor;
  libraries_->Multiply({.rows = outputs,
                        .depth = samples,
                        .columns = inputs,
                        .transpose_a = true,
                        .a = FactorOf(dy),
                        .b = FactorOf(x),
                        .c = ResultOf(gradient)});
  if (!dweight.accumulate) return;
  const float* added = In<float>(gradient);
  float* const to = Out<float>(dweight.tensor);
  Run("add a gradient",
      [&](cudaStream_t stream) { kernels::Add(stream, to, added, to, gradient.elements()); });
}

}  // namespace syncbn::backend::cuda
