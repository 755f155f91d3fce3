#include "backend/cuda/kernels/recurrent.h"

#include "backend/cuda/kernels/each.h"
#include "backend/cuda/kernels/elements.h"
#include "backend/cuda/kernels/functions.h"

namespace syncbn::backend::cuda::kernels {
namespace {

// Two read, one written.
template <typename T>
struct TanhOfSumBody {
  const T* a;
  const T* b;
  T* y;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    Vector<float, N> value = LoadFloats<N>(a + i);
    const Vector<float, N> other = LoadFloats<N>(b + i);
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) value[k] = std::tanh(value[k] + other[k]);
    StoreFloats(y + i, value);
  }
};

// Of element i of a cell: where its first gate is; the others are `hidden` further each. N elements are of one sample.
SYNCBN_DEVICE int64_t GateOf(int64_t i, int64_t hidden) { return i / hidden * 3 * hidden + i; }

// i, f, o = sigmoid(a + b), g = tanh(a + b), cell = f before + i g. 14 elements for one of the cell.
template <typename T>
struct CellBody {
  const T* a;
  const T* b;
  const T* before;
  T* gates;
  T* cell;
  int64_t hidden;
  template <int N>
  SYNCBN_DEVICE void At(int64_t at) const {
    const int64_t gate = GateOf(at, hidden);
    Vector<float, N> value[4];
    SYNCBN_UNROLL
    for (int q = 0; q < 4; ++q) {
      value[q] = LoadFloats<N>(a + gate + q * hidden);
      const Vector<float, N> other = LoadFloats<N>(b + gate + q * hidden);
      SYNCBN_UNROLL
      for (int k = 0; k < N; ++k) {
        const float sum = value[q][k] + other[k];
        value[q][k] = q == 2 ? std::tanh(sum) : Sigmoid(sum);
      }
      StoreFloats(gates + gate + q * hidden, value[q]);
    }
    Vector<float, N> next = LoadFloats<N>(before + at);
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) next[k] = value[1][k] * next[k] + value[0][k] * value[2][k];
    StoreFloats(cell + at, next);
  }
};

// tanh_u = tanh(u), state = o tanh_u. Two read, two written.
template <typename T>
struct StateBody {
  const T* gates;
  const T* u;
  T* tanh_u;
  T* state;
  int64_t hidden;
  template <int N>
  SYNCBN_DEVICE void At(int64_t at) const {
    Vector<float, N> o = LoadFloats<N>(gates + GateOf(at, hidden) + 3 * hidden);
    Vector<float, N> t = LoadFloats<N>(u + at);
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) {
      t[k] = std::tanh(t[k]);
      o[k] *= t[k];
    }
    StoreFloats(tanh_u + at, t);
    StoreFloats(state + at, o);
  }
};

// du = dstate o (1 - tanh_u^2). Three read, one written.
template <typename T>
struct StateBackwardBody {
  const T* gates;
  const T* tanh_u;
  const T* dstate;
  T* du;
  int64_t hidden;
  template <int N>
  SYNCBN_DEVICE void At(int64_t at) const {
    const Vector<float, N> o = LoadFloats<N>(gates + GateOf(at, hidden) + 3 * hidden);
    const Vector<float, N> t = LoadFloats<N>(tanh_u + at);
    Vector<float, N> d = LoadFloats<N>(dstate + at);
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) d[k] = d[k] * o[k] * (1.0f - t[k] * t[k]);
    StoreFloats(du + at, d);
  }
};

// The slope of a sigmoid s is s (1 - s), that of a tanh t is 1 - t^2. 13 elements for one of the cell.
template <typename T>
struct CellBackwardBody {
  LstmBackward<T> t;
  int64_t hidden;
  template <int N>
  SYNCBN_DEVICE void At(int64_t at) const {
    const int64_t gate = GateOf(at, hidden);
    Vector<float, N> i = LoadFloats<N>(t.gates + gate), f = LoadFloats<N>(t.gates + gate + hidden);
    Vector<float, N> g = LoadFloats<N>(t.gates + gate + 2 * hidden), o = LoadFloats<N>(t.gates + gate + 3 * hidden);
    Vector<float, N> dc = LoadFloats<N>(t.dcell + at);
    const Vector<float, N> dh = LoadFloats<N>(t.dstate + at), tanh_u = LoadFloats<N>(t.tanh_u + at);
    const Vector<float, N> before = LoadFloats<N>(t.before + at);
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) {
      const float di = dc[k] * g[k] * i[k] * (1.0f - i[k]);
      const float df = dc[k] * before[k] * f[k] * (1.0f - f[k]);
      const float dg = dc[k] * i[k] * (1.0f - g[k] * g[k]);
      const float dout = dh[k] * tanh_u[k] * o[k] * (1.0f - o[k]);
      dc[k] *= f[k];
      i[k] = di;
      f[k] = df;
      g[k] = dg;
      o[k] = dout;
    }
    StoreFloats(t.dsum + gate, i);
    StoreFloats(t.dsum + gate + hidden, f);
    StoreFloats(t.dsum + gate + 2 * hidden, g);
    StoreFloats(t.dsum + gate + 3 * hidden, o);
    StoreFloats(t.dbefore + at, dc);
  }
};

// `moved`: elements, for each of the cell.
template <typename T, typename Body, typename... Tensors>
void LaunchCells(cudaStream_t stream, const char* name, LstmShape shape, int64_t moved, const Body& body,
                 const Tensors*... tensors) {
  LaunchEach<kInVector<T>>(stream, name, shape.samples * shape.hidden, moved * int64_t{sizeof(T)},
                           shape.hidden % kInVector<T> == 0 && Aligned16(tensors...), body);
}

}  // namespace

template <typename T>
void TanhOfSum(cudaStream_t stream, const T* a, const T* b, T* y, int64_t elements) {
  LaunchEach<kInVector<T>>(stream, "tanh of a sum", elements, 3 * sizeof(T), Aligned16(a, b, y),
                           TanhOfSumBody<T>{a, b, y});
}

template <typename T>
void LstmCell(cudaStream_t stream, LstmShape shape, const T* a, const T* b, const T* before, T* gates, T* cell) {
  LaunchCells<T>(stream, "lstm cell", shape, 14, CellBody<T>{a, b, before, gates, cell, shape.hidden}, a, b, before,
                 gates, cell);
}

template <typename T>
void LstmState(cudaStream_t stream, LstmShape shape, const T* gates, const T* u, T* tanh_u, T* state) {
  LaunchCells<T>(stream, "lstm state", shape, 4, StateBody<T>{gates, u, tanh_u, state, shape.hidden}, gates, u, tanh_u,
                 state);
}

template <typename T>
void LstmStateBackward(cudaStream_t stream, LstmShape shape, const T* gates, const T* tanh_u, const T* dstate, T* du) {
  LaunchCells<T>(stream, "gradient of an lstm state", shape, 4,
                 StateBackwardBody<T>{gates, tanh_u, dstate, du, shape.hidden}, gates, tanh_u, dstate, du);
}

template <typename T>
void LstmCellBackward(cudaStream_t stream, LstmShape shape, const LstmBackward<T>& t) {
  LaunchCells<T>(stream, "gradient of an lstm cell", shape, 13, CellBackwardBody<T>{t, shape.hidden}, t.gates,
                 t.before, t.tanh_u, t.dstate, t.dcell, t.dsum, t.dbefore);
}

template void TanhOfSum(cudaStream_t, const float*, const float*, float*, int64_t);
template void LstmCell(cudaStream_t, LstmShape, const float*, const float*, const float*, float*, float*);
template void LstmState(cudaStream_t, LstmShape, const float*, const float*, float*, float*);
template void LstmStateBackward(cudaStream_t, LstmShape, const float*, const float*, const float*, float*);
template void LstmCellBackward(cudaStream_t, LstmShape, const LstmBackward<float>&);

template void TanhOfSum(cudaStream_t, const BFloat16*, const BFloat16*, BFloat16*, int64_t);
template void LstmCell(cudaStream_t, LstmShape, const BFloat16*, const BFloat16*, const BFloat16*, BFloat16*,
                       BFloat16*);
template void LstmState(cudaStream_t, LstmShape, const BFloat16*, const BFloat16*, BFloat16*, BFloat16*);
template void LstmStateBackward(cudaStream_t, LstmShape, const BFloat16*, const BFloat16*, const BFloat16*, BFloat16*);
template void LstmCellBackward(cudaStream_t, LstmShape, const LstmBackward<BFloat16>&);

}  // namespace syncbn::backend::cuda::kernels
