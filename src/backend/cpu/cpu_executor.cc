#include "backend/cpu/cpu_executor.h"

#include <cstring>
#include <utility>

#include "base/check.h"

namespace syncbn::backend::cpu {

void ZeroGradient(const GradientOut& gradient) {
  if (!gradient.tensor.defined() || gradient.accumulate) return;
  Tensor target = gradient.tensor;
  std::memset(target.Bytes().data(), 0, target.bytes());
}

CpuExecutor::CpuExecutor(const KernelTable& kernels, dnnl::engine engine,
                         std::shared_ptr<PackedWeights> packed, Allocate allocate,
                         ConvolutionForms convolutions)
    : kernels_(kernels),
      pool_(MemoryPool::Make(allocate)),
      packed_(std::move(packed)),
      session_(std::move(engine)),
      convolutions_(convolutions, kernels, session_, *packed_),
      products_(session_),
      average_pools_(session_) {}

CpuExecutor::~CpuExecutor() {
  pool_->Close();
}

Tensor CpuExecutor::New(Shape shape, DType dtype) {
  const size_t bytes = static_cast<size_t>(shape.elements()) * SizeOf(dtype);
  return Tensor(shape, dtype, pool_->Take(bytes));
}

void CpuExecutor::SetWeightsVersion(WeightsVersion version) {
  convolutions_.SetWeightsVersion(version);
}

void* CpuExecutor::Scratch(int64_t channels) {
  const size_t bytes = ScratchBytes(channels);
  if (bytes > scratch_bytes_) {
    scratch_ = AllocateAligned(bytes);
    scratch_bytes_ = bytes;
  }
  return scratch_.get();
}

Tensor CpuExecutor::Reuse(const Tensor& given) {
  return given.use_count() == 1 ? given : New(given.shape(), given.dtype());
}

void CpuExecutor::BiasGradient(const Tensor& dy, int64_t channels, const GradientOut& dbias) {
  if (!dbias.tensor.defined()) return;
  SYNCBN_CHECK_EQ(dbias.tensor.elements(), channels) << "gradient of a bias";
  Tensor target = dbias.tensor;
  const Tensor sums = New({channels}, DType::kFloat64);
  const Segments layout{.segments = 1, .rows = dy.elements() / channels, .channels = channels};
  Tensor written = sums;
  kernels_.column_sums(layout, dy.Data<float>(), written.Data<double>(), Scratch(channels));
  const double* sum = sums.Data<double>();
  float* out = target.Data<float>();
  for (int64_t c = 0; c < channels; ++c) {
    out[c] = dbias.accumulate ? static_cast<float>(out[c] + sum[c]) : static_cast<float>(sum[c]);
  }
}

// -- Convolution
// -----------------------------------------------------------------------------------

Tensor CpuExecutor::Conv2dForward(const Conv2dSpec& spec, const Tensor& x, const Tensor& weight,
                                  const Tensor& bias) {
  Tensor y = New(spec.OutputShape(x.shape()));
  SYNCBN_CHECK_EQ(weight.shape(), spec.WeightShape()) << "weight of a convolution";
  if (bias.defined())
    SYNCBN_CHECK_EQ(bias.elements(), spec.out_channels) << "bias of a convolution";
  if (y.elements() > 0) convolutions_.Forward(spec, x, weight, bias, y);
  return y;
}

Tensor CpuExecutor::Conv2dBackwardInput(const Conv2dSpec& spec, const Shape& x_shape,
                                        const Tensor& dy, const Tensor& weight) {
  SYNCBN_CHECK_EQ(dy.shape(), spec.OutputShape(x_shape)) << "gradient of a convolution";
  SYNCBN_CHECK_EQ(weight.shape(), spec.WeightShape()) << "weight of a convolution";
  Tensor dx = New(x_shape);
  if (dx.elements() > 0) convolutions_.BackwardInput(spec, dy, weight, dx);
  return dx;
}

void CpuExecutor::Conv2dBackwardWeights(const Conv2dSpec& spec, const Tensor& x, const Tensor& dy,
                                        GradientOut dweight, GradientOut dbias) {
  SYNCBN_CHECK_EQ(dy.shape(), spec.OutputShape(x.shape())) << "gradient of a convolution";
  SYNCBN_CHECK_EQ(dweight.tensor.shape(), spec.WeightShape()) << "weight gradient";
  if (dy.elements() == 0) {
    ZeroGradient(dweight);
    ZeroGradient(dbias);
    return;
  }
  convolutions_.BackwardWeights(spec, x, dy, dweight.tensor, dweight.accumulate);
  BiasGradient(dy, spec.out_channels, dbias);
}

// -- Linear
// ----------------------------------------------------------------------------------------

Tensor CpuExecutor::LinearForward(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const int64_t samples = x.shape()[0], in = weight.shape()[1], out = weight.shape()[0];
  SYNCBN_CHECK_EQ(x.elements(), samples * in) << "input of a linear layer " << weight.shape();
  if (bias.defined()) SYNCBN_CHECK_EQ(bias.elements(), out) << "bias of a linear layer";
  Tensor y = New({samples, out});
  if (y.elements() == 0) return y;
  products_.Multiply({.rows = samples, .depth = in, .columns = out, .b_transposed = true},
                     x.Data<float>(), weight.Data<float>(),
                     bias.defined() ? bias.Data<float>() : nullptr, y.Data<float>());
  return y;
}

Tensor CpuExecutor::LinearBackwardInput(const Tensor& dy, const Tensor& weight) {
  const int64_t samples = dy.shape()[0], in = weight.shape()[1], out = weight.shape()[0];
  SYNCBN_CHECK_EQ(dy.elements(), samples * out) << "gradient of a linear layer " << weight.shape();
  Tensor dx = New({samples, in});
  if (dx.elements() == 0) return dx;
  products_.Multiply({.rows = samples, .depth = out, .columns = in}, dy.Data<float>(),
                     weight.Data<float>(), nullptr, dx.Data<float>());
  return dx;
}

void CpuExecutor::LinearBackwardWeights(const Tensor& x, const Tensor& dy, GradientOut dweight,
                                        GradientOut dbias) {
  const int64_t samples = x.shape()[0];
  const int64_t in = dweight.tensor.shape()[1], out = dweight.tensor.shape()[0];
  SYNCBN_CHECK_EQ(x.elements(), samples * in) << "input of a linear layer";
  SYNCBN_CHECK_EQ(dy.elements(), samples * out) << "gradient of a linear layer";
  if (samples == 0) {
    ZeroGradient(dweight);
    ZeroGradient(dbias);
    return;
  }
  products_.Multiply({.rows = out,
                      .depth = samples,
                      .columns = in,
                      .a_transposed = true,
                      .accumulate = dweight.accumulate},
                     dy.Data<float>(), x.Data<float>(), nullptr, dweight.tensor.Data<float>());
  BiasGradient(dy, out, dbias);
}

}  // namespace syncbn::backend::cpu
