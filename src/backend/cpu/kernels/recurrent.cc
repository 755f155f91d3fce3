// States and gates of recurrent layers.
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/kernels.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {
namespace {

// body(place in [samples, hidden], place of the same in the first gate of [samples, 4 hidden],
// lanes)
template <typename Body>
void ForGates(const LstmShape& shape, Body body) {
  for (int64_t n = 0; n < shape.samples; ++n) {
    const int64_t row = n * shape.hidden;
    ForVectors(shape.hidden, [&](int64_t j, auto lanes) { body(row + j, 4 * row + j, lanes); });
  }
}

// The slope of a sigmoid is s (1 - s), that of a tanh 1 - t^2.
inline Vec SigmoidSlope(Vec s) {
  return Mul(s, Sub(Broadcast(1), s));
}
inline Vec TanhSlope(Vec t) {
  return Fma(Sub(Broadcast(0), t), t, Broadcast(1));
}

}  // namespace

void TanhOfSum(const float* a, const float* b, float* state, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    Store(state + i, TanhOf(Add(Load(a + i, lanes), Load(b + i, lanes))), lanes);
  });
}

void LstmCell(const LstmShape& shape, const float* a, const float* b, const float* before,
              float* gates, float* cell) {
  const int64_t hidden = shape.hidden;
  ForGates(shape, [&](int64_t at, int64_t first, auto lanes) {
    const auto sum = [&](int64_t gate) {
      const int64_t place = first + gate * hidden;
      return Add(Load(a + place, lanes), Load(b + place, lanes));
    };
    const Vec i = SigmoidOf(sum(0)), f = SigmoidOf(sum(1)), g = TanhOf(sum(2)),
              o = SigmoidOf(sum(3));
    Store(gates + first, i, lanes);
    Store(gates + first + hidden, f, lanes);
    Store(gates + first + 2 * hidden, g, lanes);
    Store(gates + first + 3 * hidden, o, lanes);
    Store(cell + at, Fma(f, Load(before + at, lanes), Mul(i, g)), lanes);
  });
}

void LstmState(const LstmShape& shape, const float* gates, const float* u, float* tanh_u,
               float* state) {
  ForGates(shape, [&](int64_t at, int64_t first, auto lanes) {
    const Vec value = TanhOf(Load(u + at, lanes));
    Store(tanh_u + at, value, lanes);
    Store(state + at, Mul(Load(gates + first + 3 * shape.hidden, lanes), value), lanes);
  });
}

void LstmStateBackward(const LstmShape& shape, const float* gates, const float* tanh_u,
                       const float* dstate, float* du) {
  ForGates(shape, [&](int64_t at, int64_t first, auto lanes) {
    const Vec o = Load(gates + first + 3 * shape.hidden, lanes);
    const Vec slope = Mul(o, TanhSlope(Load(tanh_u + at, lanes)));
    Store(du + at, Mul(Load(dstate + at, lanes), slope), lanes);
  });
}

void LstmCellBackward(const LstmShape& shape, const LstmCellGradients& gradients) {
  const int64_t hidden = shape.hidden;
  ForGates(shape, [&](int64_t at, int64_t first, auto lanes) {
    const auto gate = [&](int64_t k) { return Load(gradients.gates + first + k * hidden, lanes); };
    const auto store = [&](int64_t k, Vec v) {
      Store(gradients.dsum + first + k * hidden, v, lanes);
    };
    const Vec i = gate(0), f = gate(1), g = gate(2), o = gate(3);
    const Vec dcell = Load(gradients.dcell + at, lanes);
    const Vec dstate = Load(gradients.dstate + at, lanes);
    store(0, Mul(Mul(dcell, g), SigmoidSlope(i)));
    store(1, Mul(Mul(dcell, Load(gradients.before + at, lanes)), SigmoidSlope(f)));
    store(2, Mul(Mul(dcell, i), TanhSlope(g)));
    store(3, Mul(Mul(dstate, Load(gradients.tanh_u + at, lanes)), SigmoidSlope(o)));
    Store(gradients.dbefore + at, Mul(dcell, f), lanes);
  });
}

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
