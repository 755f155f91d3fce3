// The one-dimensional transforms of Winograd's convolutions, of vectors of channels; two of them
// are nested for a tile.
//
// Of the points 0, +-5/8, +-3/2 and infinity (4 outputs; K. Vincent et al., "On Improving the
// Numerical Stability of Winograd Convolutions", ICLR 2017) or 0, +-1 and infinity (2 outputs). The
// constants of B' and of A' are exact in float32; opposite points share their even and odd parts.
#pragma once

#include "backend/cpu/kernels/simd.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {

constexpr float kA = 0.625f, kB = 1.5f;
constexpr float kA2 = kA * kA, kB2 = kB * kB, kA3 = kA2 * kA, kB3 = kB2 * kB;

// Of one direction, in which a tile has kTile outputs.
template <int kTile>
struct Filter;

template <>
struct Filter<4> {
  // B' d
  static inline void Input(const Vec d[6], Vec v[6]) {
    const Vec a = Broadcast(kA), b = Broadcast(kB), a2 = Broadcast(-kA2), b2 = Broadcast(-kB2);
    const Vec product = Broadcast(kA2 * kB2), sum = Broadcast(-(kA2 + kB2));
    v[0] = Fma(product, d[0], Fma(sum, d[2], d[4]));
    const Vec even_a = Fma(b2, d[2], d[4]), odd_a = Mul(a, Fma(b2, d[1], d[3]));
    v[1] = Add(even_a, odd_a);
    v[2] = Sub(even_a, odd_a);
    const Vec even_b = Fma(a2, d[2], d[4]), odd_b = Mul(b, Fma(a2, d[1], d[3]));
    v[3] = Add(even_b, odd_b);
    v[4] = Sub(even_b, odd_b);
    v[5] = Fma(product, d[1], Fma(sum, d[3], d[5]));
  }
  // A' m
  static inline void Output(const Vec m[6], Vec y[4]) {
    const Vec sum_a = Add(m[1], m[2]), difference_a = Sub(m[1], m[2]);
    const Vec sum_b = Add(m[3], m[4]), difference_b = Sub(m[3], m[4]);
    y[0] = Add(m[0], Add(sum_a, sum_b));
    y[1] = Fma(Broadcast(kA), difference_a, Mul(Broadcast(kB), difference_b));
    y[2] = Fma(Broadcast(kA2), sum_a, Mul(Broadcast(kB2), sum_b));
    y[3] = Fma(Broadcast(kA3), difference_a, Fma(Broadcast(kB3), difference_b, m[5]));
  }
  // A y
  static inline void Gradient(const Vec y[4], Vec d[6]) {
    d[0] = y[0];
    const Vec even_a = Fma(Broadcast(kA2), y[2], y[0]);
    const Vec odd_a = Mul(Broadcast(kA), Fma(Broadcast(kA2), y[3], y[1]));
    d[1] = Add(even_a, odd_a);
    d[2] = Sub(even_a, odd_a);
    const Vec even_b = Fma(Broadcast(kB2), y[2], y[0]);
    const Vec odd_b = Mul(Broadcast(kB), Fma(Broadcast(kB2), y[3], y[1]));
    d[3] = Add(even_b, odd_b);
    d[4] = Sub(even_b, odd_b);
    d[5] = y[3];
  }
  // Of G, without the scales of its rows: those of +-a are (1, +-a, a^2) / (2 a^2 (a^2 - b^2)).
  static constexpr double kScale0 = 1 / (double{kA2} * kB2);
  static constexpr double kScaleA = 1 / (2 * double{kA2} * (double{kA2} - kB2));
  static constexpr double kScaleB = 1 / (2 * double{kB2} * (double{kB2} - kA2));
  // G g
  static inline void Weights(const VecD g[3], VecD u[6]) {
    u[0] = MulD(BroadcastD(kScale0), g[0]);
    const VecD even_a = MulD(BroadcastD(kScaleA), FmaD(BroadcastD(kA2), g[2], g[0]));
    const VecD odd_a = MulD(BroadcastD(kScaleA * kA), g[1]);
    u[1] = AddD(even_a, odd_a);
    u[2] = SubD(even_a, odd_a);
    const VecD even_b = MulD(BroadcastD(kScaleB), FmaD(BroadcastD(kB2), g[2], g[0]));
    const VecD odd_b = MulD(BroadcastD(kScaleB * kB), g[1]);
    u[3] = AddD(even_b, odd_b);
    u[4] = SubD(even_b, odd_b);
    u[5] = g[2];
  }
  // G' s
  static inline void WeightsGradient(const VecD s[6], VecD g[3]) {
    const VecD sum_a = MulD(BroadcastD(kScaleA), AddD(s[1], s[2]));
    const VecD difference_a = MulD(BroadcastD(kScaleA * kA), SubD(s[1], s[2]));
    const VecD sum_b = MulD(BroadcastD(kScaleB), AddD(s[3], s[4]));
    const VecD difference_b = MulD(BroadcastD(kScaleB * kB), SubD(s[3], s[4]));
    g[0] = FmaD(BroadcastD(kScale0), s[0], AddD(sum_a, sum_b));
    g[1] = AddD(difference_a, difference_b);
    g[2] = FmaD(BroadcastD(kA2), sum_a, FmaD(BroadcastD(kB2), sum_b, s[5]));
  }
};

template <>
struct Filter<2> {
  static inline void Input(const Vec d[4], Vec v[4]) {
    v[0] = Sub(d[0], d[2]);
    v[1] = Add(d[1], d[2]);
    v[2] = Sub(d[2], d[1]);
    v[3] = Sub(d[3], d[1]);
  }
  static inline void Output(const Vec m[4], Vec y[2]) {
    y[0] = Add(m[0], Add(m[1], m[2]));
    y[1] = Add(Sub(m[1], m[2]), m[3]);
  }
  static inline void Gradient(const Vec y[2], Vec d[4]) {
    d[0] = y[0];
    d[1] = Add(y[0], y[1]);
    d[2] = Sub(y[0], y[1]);
    d[3] = y[1];
  }
  static inline void Weights(const VecD g[3], VecD u[4]) {
    const VecD half = BroadcastD(0.5);
    const VecD even = MulD(half, AddD(g[0], g[2])), odd = MulD(half, g[1]);
    u[0] = g[0];
    u[1] = AddD(even, odd);
    u[2] = SubD(even, odd);
    u[3] = g[2];
  }
  static inline void WeightsGradient(const VecD s[4], VecD g[3]) {
    const VecD half = BroadcastD(0.5);
    const VecD sum = MulD(half, AddD(s[1], s[2]));
    g[0] = AddD(s[0], sum);
    g[1] = MulD(half, SubD(s[1], s[2]));
    g[2] = AddD(sum, s[3]);
  }
};

// Calls NAME<down, across>(...) for the tile.
#define SYNCBN_OF_TILE(tile, NAME, ...) \
  do {                                  \
    if ((tile).across == 4) {           \
      NAME<4, 4>(__VA_ARGS__);          \
    } else if ((tile).down == 4) {      \
      NAME<4, 2>(__VA_ARGS__);          \
    } else {                            \
      NAME<2, 2>(__VA_ARGS__);          \
    }                                   \
  } while (false)

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
