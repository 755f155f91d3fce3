// Matrices of double, one of each group of channels, and their products (whitening.h).
#pragma once

#include "backend/cuda/kernels/each.h"
#include "backend/cuda/kernels/tile_product.h"
#include "backend/specs.h"

namespace syncbn::backend::cuda::kernels {

inline constexpr int kMatrixThreads = 256;

// That of group k, d x d, begins `before` elements behind the k groups of `fixed` + `linear` d +
// `square` d^2 elements before it, where before = at_fixed + at_linear d + at_square d^2.
struct Matrices {
  double* base = nullptr;
  int64_t fixed = 0, linear = 0, square = 1;
  int64_t at_fixed = 0, at_linear = 0, at_square = 0;

  SYNCBN_DEVICE double* Of(const Groups& groups, int64_t k) const {
    const int64_t d = groups.Size(k);
    return base + groups.Offset(k, fixed, linear, square) + at_fixed + at_linear * d +
           at_square * d * d;
  }
};
struct GroupPlace {
  int64_t k, d, i, j;
};

// Elements of newton for a group of d channels: 2 + 2 (1 + iterations) d^2.
inline int64_t NewtonSquares(const WhiteningSpec& spec) {
  return 2 * (1 + spec.iterations);
}
// Y_k and Z_k.
inline Matrices Iterate(const WhiteningSpec& spec, double* newton, int64_t k, bool z) {
  return {.base = newton,
          .fixed = 2,
          .square = NewtonSquares(spec),
          .at_fixed = 2,
          .at_square = 2 * k + (z ? 1 : 0)};
}

// body(group, i, j) for each element of each group's matrix, by a thread each.
template <typename Body>
struct ElementsKernel {
  static constexpr bool kCooperative = false;
  Groups groups;
  Body body;

  SYNCBN_DEVICE void operator()() const {
    const int64_t most = groups.Most(), square = most * most;
    const int64_t k = GlobalThread() / square, e = GlobalThread() % square;
    if (k >= groups.groups) return;
    const int64_t d = groups.Size(k);
    if (e < d * d) body(groups, GroupPlace{.k = k, .d = d, .i = e / d, .j = e % d});
  }
};
// `doubles`: moved for each element.
template <typename Body>
void ForElements(cudaStream_t stream, const char* name, const WhiteningSpec& spec, int64_t doubles,
                 const Body& body) {
  const Groups groups(spec);
  Launch(stream,
         {.name = name,
          .blocks = CeilDiv(groups.groups * groups.Most() * groups.Most(), kMatrixThreads),
          .threads = kMatrixThreads,
          .bytes = doubles * spec.matrix_elements() * static_cast<int64_t>(sizeof(double))},
         ElementsKernel<Body>{groups, body});
}

// -- Products ------------------------------------------------------------------------------------

// c = diagonal I + factor1 a1 b1 + factor2 a2 b2, the second where there is one.
struct GroupProduct {
  Matrices a1, b1;
  double factor1 = 1;
  Matrices a2 = {}, b2 = {};  // of base null: none
  double factor2 = 0;
  double diagonal = 0;
  Matrices c;
};

// One or two such products for all groups, a tile of 64 x 64 of one by each block. Moved: of a
// product of d x d matrices with T tiles a side, T d^2 of each factor (all but the first from the
// cache) and the result.
struct ProductsKernel {
  static constexpr bool kCooperative = true;
  static constexpr int kMostThreads = kTileThreads;
  Groups groups;
  GroupProduct products[2];

  SYNCBN_DEVICE void operator()() const {
    const int64_t tiles = TilesOf(groups.Most());
    const int64_t tile = Block() % (tiles * tiles);
    const int64_t k = Block() / (tiles * tiles) % groups.groups;
    if (Block() / (tiles * tiles * groups.groups) == 0) {
      Multiply(products[0], k, tile / tiles, tile % tiles);
    } else {
      Multiply(products[1], k, tile / tiles, tile % tiles);
    }
  }

  SYNCBN_DEVICE void Multiply(const GroupProduct& product, int64_t k, int64_t row_tile,
                              int64_t column_tile) const {
    const int64_t d = groups.Size(k);
    if (row_tile >= TilesOf(d) || column_tile >= TilesOf(d)) return;
    const int size = static_cast<int>(d);
    const TileExtent extent{
        .rows = TileSize(d, row_tile), .columns = TileSize(d, column_tile), .depth = size};
    double sums[kTileOfThread][kTileOfThread] = {};
    for (int t = 0; t < 2; ++t) {
      const Matrices& left = t == 0 ? product.a1 : product.a2;
      if (left.base == nullptr) break;
      const double factor = t == 0 ? product.factor1 : product.factor2;
      const double* const a = left.Of(groups, k) + row_tile * kTile * d;
      const double* const b =
          (t == 0 ? product.b1 : product.b2).Of(groups, k) + column_tile * kTile;
      AddTileProduct<true>(
          extent, [&](int i, int e) { return factor * Load(a + int64_t{i} * size + e); },
          [&](int e, int j) { return Load(b + int64_t{e} * size + j); }, [](const auto&, int) {},
          sums);
    }
    double* const c = product.c.Of(groups, k) + row_tile * kTile * d + column_tile * kTile;
    const bool has_diagonal = row_tile == column_tile;
    ForTile(extent, sums, [&](int i, int j, double sum) {
      Store(c + int64_t{i} * size + j, sum + (has_diagonal && i == j ? product.diagonal : 0));
    });
  }
};

inline void Multiply(cudaStream_t stream, const WhiteningSpec& spec, const GroupProduct* products,
                     int count) {
  const Groups groups(spec);
  int64_t doubles = 0;
  for (int i = 0; i < count; ++i) {
    const int64_t factors = products[i].a2.base == nullptr ? 2 : 4;
    for (int64_t k = 0; k < groups.groups; ++k) {
      const int64_t d = groups.Size(k);
      doubles += (factors * TilesOf(d) + 1) * d * d;
    }
  }
  const int64_t tiles = TilesOf(groups.Most());
  Launch(stream,
         {.name = "products of a whitening",
          .blocks = count * groups.groups * tiles * tiles,
          .threads = kTileThreads,
          .bytes = doubles * static_cast<int64_t>(sizeof(double))},
         ProductsKernel{.groups = groups, .products = {products[0], products[count - 1]}});
}

// R = (3 I - Z Y) / 2
inline GroupProduct Factor(const Matrices& z, const Matrices& y, const Matrices& r) {
  return {.a1 = z, .b1 = y, .factor1 = -0.5, .diagonal = 1.5, .c = r};
}

}  // namespace syncbn::backend::cuda::kernels
