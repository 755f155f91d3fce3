// Products of matrices of double, for what must not lose digits.
#include "backend/cpu/kernels/kernels.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {
namespace {

// Of row i, kVectors vectors from column j on: sums in registers over the whole depth.
template <int kVectors>
inline void Tile(const ProductArgs& args, int64_t i, int64_t j) {
  double* const c = args.c + i * args.columns + j;
  VecD sums[kVectors];
  for (int v = 0; v < kVectors; ++v) sums[v] = LoadD(c + v * kDoubleLanes);
  const double* a = args.a + i * args.a_row;
  const double* b = args.b + j;
  for (int64_t k = 0; k < args.depth; ++k, a += args.a_depth, b += args.columns) {
    const VecD factor = BroadcastD(*a);
    for (int v = 0; v < kVectors; ++v) {
      sums[v] = FmaD(factor, LoadD(b + v * kDoubleLanes), sums[v]);
    }
  }
  for (int v = 0; v < kVectors; ++v) StoreD(c + v * kDoubleLanes, sums[v]);
}

}  // namespace

void Product(const ProductArgs& args) {
  constexpr int64_t kWide = 4 * kDoubleLanes;
  for (int64_t i = 0; i < args.rows; ++i) {
    int64_t j = 0;
    for (; j + kWide <= args.columns; j += kWide) Tile<4>(args, i, j);
    for (; j + kDoubleLanes <= args.columns; j += kDoubleLanes) Tile<1>(args, i, j);
    for (; j < args.columns; ++j) {
      double sum = args.c[i * args.columns + j];
      const double* a = args.a + i * args.a_row;
      for (int64_t k = 0; k < args.depth; ++k, a += args.a_depth) {
        sum = __builtin_fma(*a, args.b[k * args.columns + j], sum);
      }
      args.c[i * args.columns + j] = sum;
    }
  }
}

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
