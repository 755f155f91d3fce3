#include "backend/cpu/matrix_product.h"

#include <string>

namespace syncbn::backend::cpu {
namespace {

using Dims = dnnl::memory::dims;
constexpr auto kFloat = dnnl::memory::data_type::f32;

dnnl::memory::desc Matrix(int64_t rows, int64_t columns, bool transposed) {
  return {Dims{rows, columns}, kFloat, transposed ? Dims{1, rows} : Dims{columns, 1}};
}

std::string Describe(const ProductSpec& spec) {
  return "for a product of matrices " + std::to_string(spec.rows) + " x " +
         std::to_string(spec.depth) + " x " + std::to_string(spec.columns);
}

}  // namespace

MatrixProducts::Operation MatrixProducts::Make(const ProductSpec& spec, bool bias) const {
  const auto a = Matrix(spec.rows, spec.depth, spec.a_transposed);
  const auto b = Matrix(spec.depth, spec.columns, spec.b_transposed);
  const auto c = Matrix(spec.rows, spec.columns, false);
  const auto bias_layout = Matrix(1, spec.columns, false);
  auto attributes = DnnlSession::Attributes();
  if (spec.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const dnnl::matmul::primitive_desc description(
      bias ? dnnl::matmul::desc(a, b, bias_layout, c) : dnnl::matmul::desc(a, b, c), attributes,
      session_.engine());

  const auto memory = [&](const dnnl::memory::desc& layout) {
    return dnnl::memory(layout, session_.engine(), nullptr);
  };
  Operation operation{
      .primitive = dnnl::matmul(description),
      .scratchpad = description.scratchpad_desc(),
      .arguments = {
          {DNNL_ARG_SRC, memory(a)}, {DNNL_ARG_WEIGHTS, memory(b)}, {DNNL_ARG_DST, memory(c)}}};
  if (bias) operation.arguments.emplace(DNNL_ARG_BIAS, memory(bias_layout));
  return operation;
}

void MatrixProducts::Multiply(const ProductSpec& spec, const float* a, const float* b,
                              const float* bias, float* c) {
  DnnlSession::Begin();
  const Key key{spec.rows,         spec.depth,      spec.columns,   spec.a_transposed,
                spec.b_transposed, spec.accumulate, bias != nullptr};
  WithDnnlErrors([&] { return Describe(spec); },
                 [&] {
                   Operation& operation =
                       operations_.GetOrMake(key, [&] { return Make(spec, bias != nullptr); });
                   auto& arguments = operation.arguments;
                   arguments[DNNL_ARG_SRC].set_data_handle(const_cast<float*>(a));
                   arguments[DNNL_ARG_WEIGHTS].set_data_handle(const_cast<float*>(b));
                   if (bias != nullptr)
                     arguments[DNNL_ARG_BIAS].set_data_handle(const_cast<float*>(bias));
                   arguments[DNNL_ARG_DST].set_data_handle(c);
                   session_.Run(operation.primitive, operation.scratchpad, arguments);
                 });
}

}  // namespace syncbn::backend::cpu
