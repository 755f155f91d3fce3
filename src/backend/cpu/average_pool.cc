#include "backend/cpu/average_pool.h"

#include <string>

namespace syncbn::backend::cpu {
namespace {

using Dims = dnnl::memory::dims;

dnnl::memory::desc Images(const Shape& shape) {
  return {Dims{shape[0], shape[3], shape[1], shape[2]}, dnnl::memory::data_type::f32,
          dnnl::memory::format_tag::nhwc};
}

void* Address(const Tensor& tensor) {
  return const_cast<float*>(tensor.Data<float>());
}

std::string Describe(const Pool2dSpec& spec, const Shape& x) {
  return "for average pooling of " + x.ToString() + " with kernel " + std::to_string(spec.kernel) +
         ", stride " + std::to_string(spec.stride) + ", padding " + std::to_string(spec.pad);
}

}  // namespace

AveragePools::Operation& AveragePools::Get(bool backward, const Pool2dSpec& spec, const Shape& x) {
  const Key key{backward, x[0], x[1], x[2], x[3], spec.kernel, spec.stride, spec.pad};
  return operations_.GetOrMake(key, [&] {
    const auto images = Images(x), results = Images(spec.OutputShape(x));
    const Dims kernel{spec.kernel, spec.kernel}, strides{spec.stride, spec.stride};
    const Dims padding{spec.pad, spec.pad};
    constexpr auto kAlgorithm = dnnl::algorithm::pooling_avg_exclude_padding;
    const auto attributes = DnnlSession::Attributes();
    const auto memory = [&](const dnnl::memory::desc& layout) {
      return dnnl::memory(layout, session_.engine(), nullptr);
    };
    const dnnl::pooling_forward::primitive_desc forward(
        dnnl::pooling_forward::desc(dnnl::prop_kind::forward_training, kAlgorithm, images, results,
                                    strides, kernel, padding, padding),
        attributes, session_.engine());
    if (!backward) {
      return Operation{
          .primitive = dnnl::pooling_forward(forward),
          .scratchpad = forward.scratchpad_desc(),
          .arguments = {{DNNL_ARG_SRC, memory(images)}, {DNNL_ARG_DST, memory(results)}}};
    }
    const dnnl::pooling_backward::primitive_desc description(
        dnnl::pooling_backward::desc(kAlgorithm, images, results, strides, kernel, padding,
                                     padding),
        attributes, session_.engine(), forward);
    return Operation{
        .primitive = dnnl::pooling_backward(description),
        .scratchpad = description.scratchpad_desc(),
        .arguments = {{DNNL_ARG_DIFF_SRC, memory(images)}, {DNNL_ARG_DIFF_DST, memory(results)}}};
  });
}

void AveragePools::Forward(const Pool2dSpec& spec, const Tensor& x, Tensor& y) {
  DnnlSession::Begin();
  WithDnnlErrors([&] { return Describe(spec, x.shape()); },
                 [&] {
                   Operation& operation = Get(false, spec, x.shape());
                   operation.arguments[DNNL_ARG_SRC].set_data_handle(Address(x));
                   operation.arguments[DNNL_ARG_DST].set_data_handle(Address(y));
                   session_.Run(operation.primitive, operation.scratchpad, operation.arguments);
                 });
}

void AveragePools::Backward(const Pool2dSpec& spec, const Tensor& dy, Tensor& dx) {
  DnnlSession::Begin();
  WithDnnlErrors([&] { return Describe(spec, dx.shape()); },
                 [&] {
                   Operation& operation = Get(true, spec, dx.shape());
                   operation.arguments[DNNL_ARG_DIFF_DST].set_data_handle(Address(dy));
                   operation.arguments[DNNL_ARG_DIFF_SRC].set_data_handle(Address(dx));
                   session_.Run(operation.primitive, operation.scratchpad, operation.arguments);
                 });
}

}  // namespace syncbn::backend::cpu
