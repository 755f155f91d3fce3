#include <utility>

#include "backend/cpu/cpu_executor.h"
#include "base/check.h"

namespace syncbn::backend::cpu {
namespace {

LstmShape ShapeOf(const Tensor& cell) {
  return {.samples = cell.shape()[0], .hidden = cell.shape()[1]};
}

void CheckGates(const Tensor& gates, const Tensor& cell) {
  SYNCBN_CHECK_EQ(gates.elements(), 4 * cell.elements()) << "gates of cells " << cell.shape();
}

void CheckSame(const Tensor& x, const Tensor& cell) {
  SYNCBN_CHECK_EQ(x.elements(), cell.elements()) << "a recurrent layer's " << cell.shape();
}

}  // namespace

void CpuExecutor::RnnForward(const Tensor& a, const Tensor& b, Tensor& state) {
  CheckSame(a, state);
  CheckSame(b, state);
  kernels_.tanh_of_sum(a.Data<float>(), b.Data<float>(), state.Data<float>(), state.elements());
}

void CpuExecutor::RnnBackward(const Tensor& state, const Tensor& dstate, Tensor& dsum) {
  CheckSame(dstate, state);
  CheckSame(dsum, state);
  kernels_.tanh_backward(state.Data<float>(), dstate.Data<float>(), dsum.Data<float>(),
                         state.elements());
}

LstmCell CpuExecutor::LstmCellForward(const Tensor& a, Tensor b, const Tensor& before) {
  CheckGates(a, before);
  CheckGates(b, before);
  LstmCell result{.gates = Reuse(b), .cell = New(before.shape())};
  kernels_.lstm_cell(ShapeOf(before), a.Data<float>(), std::as_const(b).Data<float>(),
                     before.Data<float>(), result.gates.Data<float>(), result.cell.Data<float>());
  return result;
}

Tensor CpuExecutor::LstmStateForward(const Tensor& gates, Tensor u, Tensor& state) {
  CheckGates(gates, u);
  CheckSame(state, u);
  Tensor tanh_u = Reuse(u);
  kernels_.lstm_state(ShapeOf(u), gates.Data<float>(), std::as_const(u).Data<float>(),
                      tanh_u.Data<float>(), state.Data<float>());
  return tanh_u;
}

Tensor CpuExecutor::LstmStateBackward(const Tensor& gates, const Tensor& tanh_u,
                                      const Tensor& dstate) {
  CheckGates(gates, tanh_u);
  CheckSame(dstate, tanh_u);
  Tensor du = New(tanh_u.shape());
  kernels_.lstm_state_backward(ShapeOf(tanh_u), gates.Data<float>(), tanh_u.Data<float>(),
                               dstate.Data<float>(), du.Data<float>());
  return du;
}

Tensor CpuExecutor::LstmCellBackward(const Tensor& gates, const Tensor& before,
                                     const Tensor& tanh_u, const Tensor& dstate, Tensor dcell,
                                     Tensor& dsum) {
  CheckGates(gates, before);
  CheckGates(dsum, before);
  for (const Tensor* x : {&tanh_u, &dstate, &std::as_const(dcell)}) CheckSame(*x, before);
  Tensor dbefore = Reuse(dcell);
  kernels_.lstm_cell_backward(ShapeOf(before), {.gates = gates.Data<float>(),
                                                .before = before.Data<float>(),
                                                .tanh_u = tanh_u.Data<float>(),
                                                .dstate = dstate.Data<float>(),
                                                .dcell = std::as_const(dcell).Data<float>(),
                                                .dsum = dsum.Data<float>(),
                                                .dbefore = dbefore.Data<float>()});
  return dbefore;
}

}  // namespace syncbn::backend::cpu
