#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/kernels/activation.h"
#include "backend/cuda/kernels/layout.h"
#include "backend/cuda/kernels/recurrent.h"
#include "backend/shape_checks.h"

namespace syncbn::backend::cuda {
namespace {

// Elements behind the two first axes.
int64_t InnerOf(const Shape& x) {
  int64_t inner = 1;
  for (int axis = 2; axis < x.rank(); ++axis) inner *= x[axis];
  return inner;
}

kernels::LstmShape ShapeOf(const Tensor& cell) {
  return {.samples = cell.shape()[0], .hidden = cell.shape()[1]};
}

void CheckGates(const Tensor& gates, const Tensor& cell) {
  SYNCBN_CHECK_EQ(gates.elements(), 4 * cell.elements()) << "gates of cells " << cell.shape();
}

void CheckSame(const Tensor& x, const Tensor& cell) {
  SYNCBN_CHECK_EQ(x.elements(), cell.elements()) << "a recurrent layer's " << cell.shape();
}

}  // namespace

Tensor CudaExecutor::SwapLeadingAxes(const Tensor& x, int64_t keep) {
  const Shape& shape = x.shape();
  Tensor y = New(SwappedShape(shape, keep));
  const int64_t inner = InnerOf(shape), a = shape[0], b = shape[1];
  const float* const from = In<float>(x);
  float* const to = Out<float>(y);
  Run("swap axes",
      [&](cudaStream_t stream) { kernels::SwapAxes(stream, from, to, a, b, inner, keep); });
  return y;
}

Tensor CudaExecutor::SwapLeadingAxesBackward(const Shape& x_shape, const Tensor& dy) {
  const int64_t keep = dy.shape()[0];
  SYNCBN_CHECK_EQ(dy.elements(), SwappedShape(x_shape, keep).elements())
      << "gradient of swapped axes";
  const int64_t inner = InnerOf(x_shape), a = x_shape[0], b = x_shape[1];
  Tensor dx = New(x_shape);
  const float* const from = In<float>(dy);
  float* const to = Out<float>(dx);
  Run("swap axes back",
      [&](cudaStream_t stream) { kernels::SwapAxesBack(stream, from, to, a, b, inner, keep); });
  return dx;
}

void CudaExecutor::RnnForward(const Tensor& a, const Tensor& b, Tensor& state) {
  CheckSame(a, state);
  CheckSame(b, state);
  const float *left = In<float>(a), *right = In<float>(b);
  float* const to = Out<float>(state);
  Run("state of an rnn",
      [&](cudaStream_t stream) { kernels::TanhOfSum(stream, left, right, to, state.elements()); });
}

void CudaExecutor::RnnBackward(const Tensor& state, const Tensor& dstate, Tensor& dsum) {
  CheckSame(dstate, state);
  CheckSame(dsum, state);
  const float *of = In<float>(state), *from = In<float>(dstate);
  float* const to = Out<float>(dsum);
  Run("gradient of an rnn's state", [&](cudaStream_t stream) {
    kernels::ActivateBackward(stream, ActivationKind::kTanh, of, from, to, state.elements());
  });
}

LstmCell CudaExecutor::LstmCellForward(const Tensor& a, Tensor b, const Tensor& before) {
  CheckGates(a, before);
  CheckGates(b, before);
  LstmCell result{.gates = Reuse(b), .cell = New(before.shape())};
  const float *left = In<float>(a), *right = In<float>(b), *was = In<float>(before);
  float *gates = Out<float>(result.gates), *cell = Out<float>(result.cell);
  Run("lstm cell", [&](cudaStream_t stream) {
    kernels::LstmCell(stream, ShapeOf(before), left, right, was, gates, cell);
  });
  return result;
}

Tensor CudaExecutor::LstmStateForward(const Tensor& gates, Tensor u, Tensor& state) {
  CheckGates(gates, u);
  CheckSame(state, u);
  Tensor tanh_u = Reuse(u);
  const float *of = In<float>(gates), *from = In<float>(u);
  float *to = Out<float>(tanh_u), *next = Out<float>(state);
  Run("lstm state",
      [&](cudaStream_t stream) { kernels::LstmState(stream, ShapeOf(u), of, from, to, next); });
  return tanh_u;
}

Tensor CudaExecutor::LstmStateBackward(const Tensor& gates, const Tensor& tanh_u,
                                       const Tensor& dstate) {
  CheckGates(gates, tanh_u);
  CheckSame(dstate, tanh_u);
  Tensor du = New(tanh_u.shape());
  const float *of = In<float>(gates), *t = In<float>(tanh_u), *from = In<float>(dstate);
  float* const to = Out<float>(du);
  Run("gradient of an lstm state", [&](cudaStream_t stream) {
    kernels::LstmStateBackward(stream, ShapeOf(tanh_u), of, t, from, to);
  });
  return du;
}

Tensor CudaExecutor::LstmCellBackward(const Tensor& gates, const Tensor& before,
                                      const Tensor& tanh_u, const Tensor& dstate, Tensor dcell,
                                      Tensor& dsum) {
  CheckGates(gates, before);
  CheckGates(dsum, before);
  for (const Tensor* x : {&tanh_u, &dstate, static_cast<const Tensor*>(&dcell)})
    CheckSame(*x, before);
  Tensor dbefore = Reuse(dcell);
  const kernels::LstmBackward tensors{.gates = In<float>(gates),
                                      .before = In<float>(before),
                                      .tanh_u = In<float>(tanh_u),
                                      .dstate = In<float>(dstate),
                                      .dcell = In<float>(dcell),
                                      .dsum = Out<float>(dsum),
                                      .dbefore = Out<float>(dbefore)};
  Run("gradient of an lstm cell",
      [&](cudaStream_t stream) { kernels::LstmCellBackward(stream, ShapeOf(before), tensors); });
  return dbefore;
}

}  // namespace syncbn::backend::cuda
