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
  Tensor y = New(SwappedShape(shape, keep), x.dtype());
  const int64_t inner = InnerOf(shape), a = shape[0], b = shape[1];
  ForElements(x, [&](auto element) {
    using T = decltype(element);
    const T* const from = In<T>(x);
    T* const to = Out<T>(y);
    Run("swap axes",
        [&](cudaStream_t stream) { kernels::SwapAxes(stream, from, to, a, b, inner, keep); });
  });
  return y;
}

Tensor CudaExecutor::SwapLeadingAxesBackward(const Shape& x_shape, const Tensor& dy) {
  const int64_t keep = dy.shape()[0];
  SYNCBN_CHECK_EQ(dy.elements(), SwappedShape(x_shape, keep).elements())
      << "gradient of swapped axes";
  const int64_t inner = InnerOf(x_shape), a = x_shape[0], b = x_shape[1];
  Tensor dx = New(x_shape, dy.dtype());
  ForElements(dy, [&](auto element) {
    using T = decltype(element);
    const T* const from = In<T>(dy);
    T* const to = Out<T>(dx);
    Run("swap axes back",
        [&](cudaStream_t stream) { kernels::SwapAxesBack(stream, from, to, a, b, inner, keep); });
  });
  return dx;
}

void CudaExecutor::RnnForward(const Tensor& a, const Tensor& b, Tensor& state) {
  CheckSame(a, state);
  CheckSame(b, state);
  ForElements(state, [&](auto element) {
    using T = decltype(element);
    const T *left = In<T>(a), *right = In<T>(b);
    T* const to = Out<T>(state);
    Run("state of an rnn", [&](cudaStream_t stream) {
      kernels::TanhOfSum(stream, left, right, to, state.elements());
    });
  });
}

void CudaExecutor::RnnBackward(const Tensor& state, const Tensor& dstate, Tensor& dsum) {
  CheckSame(dstate, state);
  CheckSame(dsum, state);
  ForElements(state, [&](auto element) {
    using T = decltype(element);
    const T *of = In<T>(state), *from = In<T>(dstate);
    T* const to = Out<T>(dsum);
    Run("gradient of an rnn's state", [&](cudaStream_t stream) {
      kernels::ActivateBackward(stream, ActivationKind::kTanh, of, from, to, state.elements());
    });
  });
}

LstmCell CudaExecutor::LstmCellForward(const Tensor& a, Tensor b, const Tensor& before) {
  CheckGates(a, before);
  CheckGates(b, before);
  LstmCell result{.gates = Reuse(b), .cell = NewLike(before)};
  ForElements(a, [&](auto element) {
    using T = decltype(element);
    const T *left = In<T>(a), *right = In<T>(b), *was = In<T>(before);
    T *gates = Out<T>(result.gates), *cell = Out<T>(result.cell);
    Run("lstm cell", [&](cudaStream_t stream) {
      kernels::LstmCell(stream, ShapeOf(before), left, right, was, gates, cell);
    });
  });
  return result;
}

Tensor CudaExecutor::LstmStateForward(const Tensor& gates, Tensor u, Tensor& state) {
  CheckGates(gates, u);
  CheckSame(state, u);
  Tensor tanh_u = Reuse(u);
  ForElements(u, [&](auto element) {
    using T = decltype(element);
    const T *of = In<T>(gates), *from = In<T>(u);
    T *to = Out<T>(tanh_u), *next = Out<T>(state);
    Run("lstm state",
        [&](cudaStream_t stream) { kernels::LstmState(stream, ShapeOf(u), of, from, to, next); });
  });
  return tanh_u;
}

Tensor CudaExecutor::LstmStateBackward(const Tensor& gates, const Tensor& tanh_u,
                                       const Tensor& dstate) {
  CheckGates(gates, tanh_u);
  CheckSame(dstate, tanh_u);
  Tensor du = NewLike(tanh_u);
  ForElements(tanh_u, [&](auto element) {
    using T = decltype(element);
    const T *of = In<T>(gates), *t = In<T>(tanh_u), *from = In<T>(dstate);
    T* const to = Out<T>(du);
    Run("gradient of an lstm state", [&](cudaStream_t stream) {
      kernels::LstmStateBackward(stream, ShapeOf(tanh_u), of, t, from, to);
    });
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
  ForElements(before, [&](auto element) {
    using T = decltype(element);
    const kernels::LstmBackward<T> tensors{.gates = In<T>(gates),
                                           .before = In<T>(before),
                                           .tanh_u = In<T>(tanh_u),
                                           .dstate = In<T>(dstate),
                                           .dcell = In<T>(dcell),
                                           .dsum = Out<T>(dsum),
                                           .dbefore = Out<T>(dbefore)};
    Run("gradient of an lstm cell",
        [&](cudaStream_t stream) { kernels::LstmCellBackward(stream, ShapeOf(before), tensors); });
  });
  return dbefore;
}

}  // namespace syncbn::backend::cuda
