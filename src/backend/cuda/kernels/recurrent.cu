#include "backend/cuda/kernels/recurrent.h"

#include "backend/cuda/kernels/each.h"
#include "backend/cuda/kernels/functions.h"

namespace syncbn::backend::cuda::kernels {
namespace {

// 12 bytes an element.
struct TanhOfSumBody {
  const float* a;
  const float* b;
  float* y;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    Vector<float, N> value = LoadVector<N>(a + i);
    const Vector<float, N> other = LoadVector<N>(b + i);
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) value[k] = std::tanh(value[k] + other[k]);
    StoreVector(y + i, value);
  }
};

// Of element i of a cell: where its first gate is; the others are `hidden` further each. N elements are of one sample.
SYNCBN_DEVICE int64_t GateOf(int64_t i, int64_t hidden) { return i / hidden * 3 * hidden + i; }

// i, f, o = sigmoid(a + b), g = tanh(a + b), cell = f before + i g. 56 bytes an element of the cell.
struct CellBody {
  const float* a;
  const float* b;
  const float* before;
  float* gates;
  float* cell;
  int64_t hidden;
  template <int N>
  SYNCBN_DEVICE void At(int64_t at) const {
    const int64_t gate = GateOf(at, hidden);
    Vector<float, N> value[4];
    SYNCBN_UNROLL
    for (int q = 0; q < 4; ++q) {
      value[q] = LoadVector<N>(a + gate + q * hidden);
      const Vector<float, N> other = LoadVector<N>(b + gate + q * hidden);
      SYNCBN_UNROLL
      for (int k = 0; k < N; ++k) {
        const float sum = value[q][k] + other[k];
        value[q][k] = q == 2 ? std::tanh(sum) : Sigmoid(sum);
      }
      StoreVector(gates + gate + q * hidden, value[q]);
    }
    Vector<float, N> next = LoadVector<N>(before + at);
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) next[k] = value[1][k] * next[k] + value[0][k] * value[2][k];
    StoreVector(cell + at, next);
  }
};

// tanh_u = tanh(u), state = o tanh_u. 16 bytes an element.
struct StateBody {
  const float* gates;
  const float* u;
  float* tanh_u;
  float* state;
  int64_t hidden;
  template <int N>
  SYNCBN_DEVICE void At(int64_t at) const {
    Vector<float, N> o = LoadVector<N>(gates + GateOf(at, hidden) + 3 * hidden);
    Vector<float, N> t = LoadVector<N>(u + at);
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) {
      t[k] = std::tanh(t[k]);
      o[k] *= t[k];
    }
    StoreVector(tanh_u + at, t);
    StoreVector(state + at, o);
  }
};

// du = dstate o (1 - tanh_u^2). 16 bytes an element.
struct StateBackwardBody {
  const float* gates;
  const float* tanh_u;
  const float* dstate;
  float* du;
  int64_t hidden;
  template <int N>
  SYNCBN_DEVICE void At(int64_t at) const {
    const Vector<float, N> o = LoadVector<N>(gates + GateOf(at, hidden) + 3 * hidden);
    const Vector<float, N> t = LoadVector<N>(tanh_u + at);
    Vector<float, N> d = LoadVector<N>(dstate + at);
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) d[k] = d[k] * o[k] * (1.0f - t[k] * t[k]);
    StoreVector(du + at, d);
  }
};

// The slope of a sigmoid s is s (1 - s), that of a tanh t is 1 - t^2. 52 bytes an element of the cell.
struct CellBackwardBody {
  LstmBackward t;
  int64_t hidden;
  template <int N>
  SYNCBN_DEVICE void At(int64_t at) const {
    const int64_t gate = GateOf(at, hidden);
    Vector<float, N> i = LoadVector<N>(t.gates + gate), f = LoadVector<N>(t.gates + gate + hidden);
    Vector<float, N> g = LoadVector<N>(t.gates + gate + 2 * hidden), o = LoadVector<N>(t.gates + gate + 3 * hidden);
    Vector<float, N> dc = LoadVector<N>(t.dcell + at);
    const Vector<float, N> dh = LoadVector<N>(t.dstate + at), tanh_u = LoadVector<N>(t.tanh_u + at);
    const Vector<float, N> before = LoadVector<N>(t.before + at);
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
    StoreVector(t.dsum + gate, i);
    StoreVector(t.dsum + gate + hidden, f);
    StoreVector(t.dsum + gate + 2 * hidden, g);
    StoreVector(t.dsum + gate + 3 * hidden, o);
    StoreVector(t.dbefore + at, dc);
  }
};

template <typename Body, typename... T>
void LaunchCells(cudaStream_t stream, const char* name, LstmShape shape, int64_t bytes, const Body& body,
                 const T*... tensors) {
  LaunchEach<4>(stream, name, shape.samples * shape.hidden, bytes, shape.hidden % 4 == 0 && Aligned16(tensors...),
                body);
}

}  // namespace

void TanhOfSum(cudaStream_t stream, const float* a, const float* b, float* y, int64_t elements) {
  LaunchEach<4>(stream, "tanh of a sum", elements, 3 * sizeof(float), Aligned16(a, b, y), TanhOfSumBody{a, b, y});
}

void LstmCell(cudaStream_t stream, LstmShape shape, const float* a, const float* b, const float* before, float* gates,
              float* cell) {
  LaunchCells(stream, "lstm cell", shape, 56, CellBody{a, b, before, gates, cell, shape.hidden}, a, b, before, gates,
              cell);
}

void LstmState(cudaStream_t stream, LstmShape shape, const float* gates, const float* u, float* tanh_u, float* state) {
  LaunchCells(stream, "lstm state", shape, 16, StateBody{gates, u, tanh_u, state, shape.hidden}, gates, u, tanh_u,
              state);
}

void LstmStateBackward(cudaStream_t stream, LstmShape shape, const float* gates, const float* tanh_u,
                       const float* dstate, float* du) {
  LaunchCells(stream, "gradient of an lstm state", shape, 16,
              StateBackwardBody{gates, tanh_u, dstate, du, shape.hidden}, gates, tanh_u, dstate, du);
}

void LstmCellBackward(cudaStream_t stream, LstmShape shape, const LstmBackward& t) {
  LaunchCells(stream, "gradient of an lstm cell", shape, 52, CellBackwardBody{t, shape.hidden}, t.gates, t.before,
              t.tanh_u, t.dstate, t.dcell, t.dsum, t.dbefore);
}

}  // namespace syncbn::backend::cuda::kernels
