#include "backend/cpu/convolution.h"

#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace syncbn::backend::cpu {
namespace {

using Dims = dnnl::memory::dims;
using Layout = dnnl::memory::format_tag;
constexpr auto kFloat = dnnl::memory::data_type::f32;

// oneDNN names images N C H W; nhwc says how they lie in memory.
dnnl::memory::desc Images(const Shape& shape) {
  return {Dims{shape[0], shape[3], shape[1], shape[2]}, kFloat, Layout::nhwc};
}

Dims WeightDims(const Conv2dSpec& spec) {
  if (spec.groups == 1) {
    return {spec.out_channels, spec.in_channels, spec.kernel_h, spec.kernel_w};
  }
  return {spec.groups, spec.out_channels / spec.groups, spec.in_channels / spec.groups,
          spec.kernel_h, spec.kernel_w};
}

dnnl::memory::desc PlainWeights(const Conv2dSpec& spec) {
  return {WeightDims(spec), kFloat, spec.groups == 1 ? Layout::oihw : Layout::goihw};
}

std::string Describe(const Conv2dSpec& spec, const Shape& x) {
  return "for a convolution of " + x.ToString() + " with weights " + spec.WeightShape().ToString() +
         ", stride " + std::to_string(spec.stride_h) + " x " + std::to_string(spec.stride_w) +
         ", padding " + std::to_string(spec.pad_h) + " x " + std::to_string(spec.pad_w) +
         ", groups " + std::to_string(spec.groups);
}

// oneDNN (2.6 up to 3.12; its issue 6035): the gradient of the weights of a 1 x 1 convolution with a stride takes
// room for as many channels as there are, and writes as many as its vectors hold, which is beyond the scratchpad
// where that is more.
bool WritesBeyondItsScratchpad(const Conv2dSpec& spec, std::string_view implementation) {
  constexpr int64_t kWidestVector = 16;
  return implementation.starts_with("jit_1x1") && (spec.stride_h > 1 || spec.stride_w > 1) &&
         spec.in_channels / spec.groups % kWidestVector != 0;
}

void* Address(const Tensor& tensor) {
  return const_cast<float*>(tensor.Data<float>());
}

}  // namespace

void Convolutions::SetWeightsVersion(WeightsVersion version) {
  version_ = version;
  // Also of the same version: what is kept of it is looked at again.
  operations_.ForEach([](Operation& operation) { operation.packings.clear(); });
}

std::optional<WinogradTile> Convolutions::Tile(ConvolutionPass pass, const Conv2dSpec& spec,
                                               const Shape& x) const {
  if (forms_ == ConvolutionForms::kDirect) return std::nullopt;
  return ChooseWinograd(pass, spec, x, isa_);
}

Convolutions::Operation& Convolutions::Get(Direction direction, const Conv2dSpec& spec,
                                           const Shape& x) {
  const Key key{static_cast<int64_t>(direction),
                x[0],
                x[1],
                x[2],
                spec.in_channels,
                spec.out_channels,
                spec.kernel_h,
                spec.kernel_w,
                spec.stride_h,
                spec.stride_w,
                spec.pad_h,
                spec.pad_w,
                spec.groups,
                0};
  return operations_.GetOrMake(key, [&] {
    return WithDnnlErrors([&] { return Describe(spec, x); },
                          [&] { return Make(direction, spec, x); });
  });
}

Convolutions::Operation Convolutions::Make(Direction direction, const Conv2dSpec& spec,
                                           const Shape& x) const {
  constexpr auto kAlgorithm = dnnl::algorithm::convolution_direct;
  const auto images = Images(x), results = Images(spec.OutputShape(x));
  const dnnl::memory::desc weights(WeightDims(spec), kFloat, Layout::any);
  const dnnl::memory::desc bias(Dims{spec.out_channels}, kFloat, Layout::a);
  const Dims strides{spec.stride_h, spec.stride_w}, padding{spec.pad_h, spec.pad_w};
  const auto attributes = DnnlSession::Attributes();
  const auto& engine = session_.engine();

  using Forward = dnnl::convolution_forward;
  const auto kind = dnnl::prop_kind::forward_training;
  const bool with_bias = direction == Direction::kForwardBias;
  const Forward::primitive_desc forward(
      with_bias
          ? Forward::desc(kind, kAlgorithm, images, weights, bias, results, strides, padding,
                          padding)
          : Forward::desc(kind, kAlgorithm, images, weights, results, strides, padding, padding),
      attributes, engine);

  const auto memory = [&](const dnnl::memory::desc& layout) {
    return dnnl::memory(layout, engine, nullptr);
  };
  Operation operation;
  switch (direction) {
    case Direction::kForward:
    case Direction::kForwardBias:
      operation.primitive = Forward(forward);
      operation.weights = forward.weights_desc();
      operation.scratchpad = forward.scratchpad_desc();
      operation.arguments = {{DNNL_ARG_SRC, memory(images)}, {DNNL_ARG_DST, memory(results)}};
      if (with_bias) operation.arguments.emplace(DNNL_ARG_BIAS, memory(bias));
      break;
    case Direction::kBackwardInput: {
      using Backward = dnnl::convolution_backward_data;
      const Backward::primitive_desc backward(
          Backward::desc(kAlgorithm, images, weights, results, strides, padding, padding),
          attributes, engine, forward);
      operation.primitive = Backward(backward);
      operation.weights = backward.weights_desc();
      operation.scratchpad = backward.scratchpad_desc();
      operation.arguments = {{DNNL_ARG_DIFF_SRC, memory(images)},
                             {DNNL_ARG_DIFF_DST, memory(results)}};
      break;
    }
    case Direction::kBackwardWeights: {
      using Backward = dnnl::convolution_backward_weights;
      // Named, since next_impl looks at it again.
      const Backward::desc description(kAlgorithm, images, weights, results, strides, padding,
                                       padding);
      Backward::primitive_desc backward(description, attributes, engine, forward);
      while (WritesBeyondItsScratchpad(spec, backward.impl_info_str())) {
        SYNCBN_CHECK(backward.next_impl()) << "no other implementation " << Describe(spec, x);
      }
      operation.primitive = Backward(backward);
      operation.weights = backward.diff_weights_desc();
      operation.scratchpad = backward.scratchpad_desc();
      operation.arguments = {{DNNL_ARG_SRC, memory(images)}, {DNNL_ARG_DIFF_DST, memory(results)}};
      break;
    }
  }
  MakeReorderings(spec, direction == Direction::kBackwardWeights, operation);
  return operation;
}

void Convolutions::MakeReorderings(const Conv2dSpec& spec, bool gradient,
                                   Operation& operation) const {
  const auto& engine = session_.engine();
  const auto plain = PlainWeights(spec), packed = operation.weights;
  const auto make = [&](const dnnl::memory::desc& from, const dnnl::memory::desc& to, bool add) {
    auto attributes = DnnlSession::Attributes();
    if (add) {
      dnnl::post_ops sum;
      sum.append_sum(1.0f);
      attributes.set_post_ops(sum);
    }
    const dnnl::reorder::primitive_desc description(engine, from, engine, to, attributes);
    return Reordering{dnnl::reorder(description), description.scratchpad_desc()};
  };
  if (gradient) {
    operation.packed_gradient = dnnl::memory(packed, engine, nullptr);
    operation.arguments.emplace(DNNL_ARG_DIFF_WEIGHTS, operation.packed_gradient);
    operation.unpack = make(packed, plain, false);
    operation.unpack_and_add = make(packed, plain, true);
  } else if (packed != plain) {
    operation.pack = make(plain, packed, false);
  }
}

void Convolutions::Reorder(Reordering& reordering, const dnnl::memory& from,
                           const dnnl::memory& to) {
  PrimitiveArguments arguments{{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
  session_.Run(reordering.primitive, reordering.scratchpad, arguments);
}

dnnl::memory Convolutions::Packed(const Conv2dSpec& spec, Operation& operation,
                                  const Tensor& weight) {
  const dnnl::memory plain(PlainWeights(spec), session_.engine(), Address(weight));
  if (operation.weights == plain.get_desc()) return plain;
  const auto pack = [&](const dnnl::memory& packed) { Reorder(operation.pack, plain, packed); };
  if (!version_) {
    const dnnl::memory packed(operation.weights, session_.engine());
    pack(packed);
    return packed;
  }
  // Weights that are computed anew in every pass (weight norm) come from ever other addresses.
  constexpr size_t kMostAddresses = 64;
  if (operation.packings.size() > kMostAddresses) operation.packings.clear();
  PackedWeights::Handle& handle = operation.packings[Address(weight)];
  if (handle == nullptr || !handle->Holds(version_)) {
    handle.reset();
    handle = packed_.Get(weight, version_, operation.weights, session_.engine(), pack);
  }
  return handle->memory;
}

void Convolutions::Forward(const Conv2dSpec& spec, const Tensor& x, const Tensor& weight,
                           const Tensor& bias, Tensor& y) {
  if (const auto tile = Tile(ConvolutionPass::kForward, spec, x.shape())) {
    return winograd_.Forward(*tile, spec, version_, x, weight, bias, y);
  }
  DnnlSession::Begin();
  const auto direction = bias.defined() ? Direction::kForwardBias : Direction::kForward;
  Operation& operation = Get(direction, spec, x.shape());
  WithDnnlErrors([&] { return Describe(spec, x.shape()); },
                 [&] {
                   auto& arguments = operation.arguments;
                   arguments[DNNL_ARG_WEIGHTS] = Packed(spec, operation, weight);
                   arguments[DNNL_ARG_SRC].set_data_handle(Address(x));
                   if (bias.defined()) arguments[DNNL_ARG_BIAS].set_data_handle(Address(bias));
                   arguments[DNNL_ARG_DST].set_data_handle(Address(y));
                   session_.Run(operation.primitive, operation.scratchpad, arguments);
                   // Held on, the packing could not take the next version.
                   arguments[DNNL_ARG_WEIGHTS] = dnnl::memory();
                 });
}

void Convolutions::BackwardInput(const Conv2dSpec& spec, const Tensor& dy, const Tensor& weight,
                                 Tensor& dx) {
  if (const auto tile = Tile(ConvolutionPass::kBackwardInput, spec, dx.shape())) {
    return winograd_.BackwardInput(*tile, spec, version_, dy, weight, dx);
  }
  DnnlSession::Begin();
  Operation& operation = Get(Direction::kBackwardInput, spec, dx.shape());
  WithDnnlErrors([&] { return Describe(spec, dx.shape()); },
                 [&] {
                   auto& arguments = operation.arguments;
                   arguments[DNNL_ARG_WEIGHTS] = Packed(spec, operation, weight);
                   arguments[DNNL_ARG_DIFF_DST].set_data_handle(Address(dy));
                   arguments[DNNL_ARG_DIFF_SRC].set_data_handle(Address(dx));
                   session_.Run(operation.primitive, operation.scratchpad, arguments);
                   arguments[DNNL_ARG_WEIGHTS] = dnnl::memory();
                 });
}

void Convolutions::BackwardWeights(const Conv2dSpec& spec, const Tensor& x, const Tensor& dy,
                                   Tensor& dweight, bool accumulate) {
  if (const auto tile = Tile(ConvolutionPass::kBackwardWeights, spec, x.shape())) {
    return winograd_.BackwardWeights(*tile, spec, x, dy, dweight, accumulate);
  }
  DnnlSession::Begin();
  Operation& operation = Get(Direction::kBackwardWeights, spec, x.shape());
  WithDnnlErrors(
      [&] { return Describe(spec, x.shape()); },
      [&] {
        auto& arguments = operation.arguments;
        arguments[DNNL_ARG_SRC].set_data_handle(Address(x));
        arguments[DNNL_ARG_DIFF_DST].set_data_handle(Address(dy));
        const bool direct = !accumulate && operation.weights == PlainWeights(spec);
        operation.packed_gradient.set_data_handle(
            direct ? Address(dweight) : session_.Temporary(operation.weights.get_size()));
        session_.Run(operation.primitive, operation.scratchpad, arguments);
        if (direct) return;
        const dnnl::memory plain(PlainWeights(spec), session_.engine(), Address(dweight));
        Reorder(accumulate ? operation.unpack_and_add : operation.unpack, operation.packed_gradient,
                plain);
      });
}

}  // namespace syncbn::backend::cpu
