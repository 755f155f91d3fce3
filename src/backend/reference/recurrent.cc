#include <cmath>

#include "backend/reference/reference_executor.h"
#include "base/check.h"

namespace syncbn::backend::reference {
namespace {

double Sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

}  // namespace

void ReferenceExecutor::RnnForward(const Tensor& a, const Tensor& b, Tensor& state) {
  SYNCBN_CHECK_EQ(a.elements(), state.elements()) << "terms of a state";
  SYNCBN_CHECK_EQ(b.elements(), state.elements()) << "terms of a state";
  for (int64_t k = 0; k < state.elements(); ++k) {
    state.Data<double>()[k] = std::tanh(a.Data<double>()[k] + b.Data<double>()[k]);
  }
}

void ReferenceExecutor::RnnBackward(const Tensor& state, const Tensor& dstate, Tensor& dsum) {
  SYNCBN_CHECK_EQ(state.elements(), dsum.elements()) << "gradient of a state";
  SYNCBN_CHECK_EQ(dstate.elements(), dsum.elements()) << "gradient of a state";
  for (int64_t k = 0; k < dsum.elements(); ++k) {
    const double h = state.Data<double>()[k];
    dsum.Data<double>()[k] = dstate.Data<double>()[k] * (1 - h * h);
  }
}

LstmCell ReferenceExecutor::LstmCellForward(const Tensor& a, Tensor b, const Tensor& before) {
  const int64_t samples = before.shape()[0], hidden = before.shape()[1];
  SYNCBN_CHECK_EQ(a.elements(), 4 * before.elements()) << "terms of gates";
  SYNCBN_CHECK_EQ(b.elements(), 4 * before.elements()) << "terms of gates";
  LstmCell result{.gates = New({samples, 4 * hidden}), .cell = New(before.shape())};
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t j = 0; j < hidden; ++j) {
      const auto sum = [&](int64_t gate) {
        const int64_t k = (n * 4 + gate) * hidden + j;
        return a.Data<double>()[k] + b.Data<double>()[k];
      };
      const double i = Sigmoid(sum(0)), f = Sigmoid(sum(1)), g = std::tanh(sum(2)),
                   o = Sigmoid(sum(3));
      double* const gates = result.gates.Data<double>() + n * 4 * hidden + j;
      gates[0] = i;
      gates[hidden] = f;
      gates[2 * hidden] = g;
      gates[3 * hidden] = o;
      result.cell.Data<double>()[n * hidden + j] =
          f * before.Data<double>()[n * hidden + j] + i * g;
    }
  }
  return result;
}

Tensor ReferenceExecutor::LstmStateForward(const Tensor& gates, Tensor u, Tensor& state) {
  const int64_t samples = u.shape()[0], hidden = u.shape()[1];
  SYNCBN_CHECK_EQ(gates.elements(), 4 * u.elements()) << "gates of a state";
  SYNCBN_CHECK_EQ(state.elements(), u.elements()) << "state of a cell";
  Tensor tanh_u = New(u.shape());
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t j = 0; j < hidden; ++j) {
      const double o = gates.Data<double>()[(n * 4 + 3) * hidden + j];
      const double t = std::tanh(u.Data<double>()[n * hidden + j]);
      tanh_u.Data<double>()[n * hidden + j] = t;
      state.Data<double>()[n * hidden + j] = o * t;
    }
  }
  return tanh_u;
}

// d (o tanh u) / du = o (1 - tanh(u)^2)
Tensor ReferenceExecutor::LstmStateBackward(const Tensor& gates, const Tensor& tanh_u,
                                            const Tensor& dstate) {
  const int64_t samples = tanh_u.shape()[0], hidden = tanh_u.shape()[1];
  SYNCBN_CHECK_EQ(gates.elements(), 4 * tanh_u.elements()) << "gates of a state";
  SYNCBN_CHECK_EQ(dstate.elements(), tanh_u.elements()) << "gradient of a state";
  Tensor du = New(tanh_u.shape());
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t j = 0; j < hidden; ++j) {
      const double o = gates.Data<double>()[(n * 4 + 3) * hidden + j];
      const double t = tanh_u.Data<double>()[n * hidden + j];
      du.Data<double>()[n * hidden + j] = dstate.Data<double>()[n * hidden + j] * o * (1 - t * t);
    }
  }
  return du;
}

// cell = f before + i g and state = o tanh(u); the slope of a sigmoid s is s (1 - s), that of a
// tanh t 1 - t^2.
Tensor ReferenceExecutor::LstmCellBackward(const Tensor& gates, const Tensor& before,
                                           const Tensor& tanh_u, const Tensor& dstate, Tensor dcell,
                                           Tensor& dsum) {
  const int64_t samples = before.shape()[0], hidden = before.shape()[1];
  SYNCBN_CHECK_EQ(gates.elements(), 4 * before.elements()) << "gates of a cell";
  SYNCBN_CHECK_EQ(dsum.elements(), 4 * before.elements()) << "gradient of gates";
  SYNCBN_CHECK_EQ(dcell.elements(), before.elements()) << "gradient of a cell";
  Tensor dbefore = New(before.shape());
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t j = 0; j < hidden; ++j) {
      const double* const gate = gates.Data<double>() + n * 4 * hidden + j;
      double* const out = dsum.Data<double>() + n * 4 * hidden + j;
      const double i = gate[0], f = gate[hidden], g = gate[2 * hidden], o = gate[3 * hidden];
      const double dc = dcell.Data<double>()[n * hidden + j];
      const double dh = dstate.Data<double>()[n * hidden + j];
      out[0] = dc * g * i * (1 - i);
      out[hidden] = dc * before.Data<double>()[n * hidden + j] * f * (1 - f);
      out[2 * hidden] = dc * i * (1 - g * g);
      out[3 * hidden] = dh * tanh_u.Data<double>()[n * hidden + j] * o * (1 - o);
      dbefore.Data<double>()[n * hidden + j] = dc * f;
    }
  }
  return dbefore;
}

}  // namespace syncbn::backend::reference
