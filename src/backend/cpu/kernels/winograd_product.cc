// The products of Winograd's convolutions: for each position a matrix of tiles x channels times one
// of weights, or by another of tiles. A block of rows x two vectors of columns is summed in
// registers.
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/winograd.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {
namespace {

// 12 sums of 16 registers, or 24 of 32: two more hold columns of b, and one an element of a.
constexpr int kRows = kLanes == 16 ? 12 : 6;

// c [kCount, panel] = or += sum over k < depth of a(i, k) b[k, panel]; element (i, k) of a lies at
// i * a_row + k * a_depth, row k of b at k * b_row. Unrolled by hand, so that no sum goes through
// memory.
template <int kCount, bool kAccumulate>
inline void Block(const float* a, int64_t a_row, int64_t a_depth, const float* b, int64_t b_row,
                  int64_t depth, float* c, int64_t c_row) {
  Vec low[kCount], high[kCount];
#pragma GCC unroll 12
  for (int i = 0; i < kCount; ++i) low[i] = high[i] = Broadcast(0);
  for (int64_t k = 0; k < depth; ++k, a += a_depth, b += b_row) {
    const Vec b_low = Load(b, Full{}), b_high = Load(b + kLanes, Full{});
#pragma GCC unroll 12
    for (int i = 0; i < kCount; ++i) {
      const Vec factor = Broadcast(a[i * a_row]);
      low[i] = Fma(factor, b_low, low[i]);
      high[i] = Fma(factor, b_high, high[i]);
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < kCount; ++i) {
    float* const p = c + i * c_row;
    if constexpr (kAccumulate) {
      low[i] = Add(Load(p, Full{}), low[i]);
      high[i] = Add(Load(p + kLanes, Full{}), high[i]);
    }
    Store(p, low[i], Full{});
    Store(p + kLanes, high[i], Full{});
  }
}

// Any number of rows below kRows.
template <int kCount, bool kAccumulate>
inline void LastBlock(int64_t count, const float* a, int64_t a_row, int64_t a_depth, const float* b,
                      int64_t b_row, int64_t depth, float* c, int64_t c_row) {
  if constexpr (kCount > 0) {
    if (count == kCount) {
      Block<kCount, kAccumulate>(a, a_row, a_depth, b, b_row, depth, c, c_row);
    } else {
      LastBlock<kCount - 1, kAccumulate>(count, a, a_row, a_depth, b, b_row, depth, c, c_row);
    }
  }
}

template <bool kAccumulate>
inline void Rows(int64_t rows, const float* a, int64_t a_row, int64_t a_depth, const float* b,
                 int64_t b_row, int64_t depth, float* c, int64_t c_row) {
  int64_t i = 0;
  for (; i + kRows <= rows; i += kRows) {
    Block<kRows, kAccumulate>(a + i * a_row, a_row, a_depth, b, b_row, depth, c + i * c_row, c_row);
  }
  LastBlock<kRows - 1, kAccumulate>(rows - i, a + i * a_row, a_row, a_depth, b, b_row, depth,
                                    c + i * c_row, c_row);
}

// One panel of columns, all rows.
inline void Panel(int64_t rows, const float* a, int64_t a_row, int64_t a_depth, const float* b,
                  int64_t b_row, int64_t depth, float* c, int64_t c_row, bool accumulate) {
  if (accumulate) {
    Rows<true>(rows, a, a_row, a_depth, b, b_row, depth, c, c_row);
  } else {
    Rows<false>(rows, a, a_row, a_depth, b, b_row, depth, c, c_row);
  }
}

}  // namespace

void WinogradMultiply(const WinogradProduct& product) {
  const int64_t panels = (product.columns + kWinogradPanel - 1) / kWinogradPanel;
  const int64_t of_b = WinogradPosition(kWinogradPanel, product.depth, product.columns);
  for (int64_t position = 0; position < product.positions; ++position) {
    const float* b = product.b + position * of_b;
    const float* const a = product.a.at + position * product.a.position;
    float* const c = product.c.at + position * product.c.position;
    for (int64_t panel = 0; panel < panels; ++panel) {
      for (int64_t k = 0; k < product.depth; k += product.chain) {
        const int64_t depth = product.depth - k < product.chain ? product.depth - k : product.chain;
        Panel(product.rows, a + k, product.a.row, 1, b, kWinogradPanel, depth,
              c + panel * kWinogradPanel, product.c.row, k > 0);
        b += depth * kWinogradPanel;
      }
    }
  }
}

void WinogradMultiplyOuter(const WinogradOuterProduct& product) {
  for (int64_t position = 0; position < product.positions; ++position) {
    const float* const a = product.a.at + position * product.a.position;
    const float* const b = product.b.at + position * product.b.position;
    float* const c = product.c.at + position * product.c.position;
    for (int64_t column = 0; column < product.columns; column += kWinogradPanel) {
      for (int64_t k = 0; k < product.depth; k += product.chain) {
        const int64_t depth = product.depth - k < product.chain ? product.depth - k : product.chain;
        Panel(product.rows, a + k * product.a.row, 1, product.a.row, b + k * product.b.row + column,
              product.b.row, depth, c + column, product.c.row, product.accumulate || k > 0);
      }
    }
  }
}

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
