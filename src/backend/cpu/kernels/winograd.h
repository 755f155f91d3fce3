// Convolutions of 3 x 3, stride 1, by minimal filtering: the arrays that the kernels of
// winograd_pixels.cc, winograd_product.cc and winograd_weights.cc pass to one another. Plain data
// only, like kernel_table.h.
//
// A tile is m x n outputs and the (m + 2) x (n + 2) inputs that they come from. Both are taken to
// Winograd's domain, where a convolution is a product for each of the (m + 2) (n + 2) positions: a
// tile of 4 x 4 costs 36 multiplications in place of 144, one of 4 x 2 24 for 72, one of 2 x 2 16
// for 36. The larger, the farther are the numbers in the domain from one another, and the result
// from the exact one.
//   Y = A' [(G g G') * (B' d B)] A
// (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016).
// The gradient of the weights is the same bilinear form turned round: G' [(A y A') * (B' d B)] G.
#pragma once

#include <cstdint>

namespace syncbn::backend::cpu {

enum class Isa { kAvx2, kAvx512 };

// 4 x 4, 4 x 2 or 2 x 2 outputs.
struct WinogradTile {
  int64_t down, across;

  int64_t Positions() const { return (down + 2) * (across + 2); }
  bool operator==(const WinogradTile&) const = default;
};

// Elements from one position of packed weights to the next. A line more than there are weights: at
// a power of two the positions would share few sets of the caches.
constexpr int64_t WinogradPosition(int64_t panel, int64_t depth, int64_t columns) {
  return (columns + panel - 1) / panel * panel * depth + 16;
}

// Of one image after the other, row by row; the last tiles of a row or column may reach over the
// edge.
struct WinogradTiles {
  WinogradTile tile;
  int64_t height, width;          // of the inputs
  int64_t out_height, out_width;  // of the outputs
  int64_t pad_h, pad_w;           // 0 to 2
  const float* zeros;             // as many as a pixel has channels

  int64_t Down() const { return (out_height + tile.down - 1) / tile.down; }
  int64_t Across() const { return (out_width + tile.across - 1) / tile.across; }
};

// Columns that a product takes together, two vectors of them.
constexpr int64_t WinogradPanel(Isa isa) {
  return isa == Isa::kAvx512 ? 32 : 16;
}

// A matrix for each position, mostly of tiles x channels. Rows are padded to whole panels.
struct WinogradMatrices {
  float* at;
  int64_t row;       // elements from one tile to the next
  int64_t position;  // and from one position to the next
};

// For each position c [rows, columns] = a b; b as winograd_weights packs it, [depth, columns].
// Products are added in chains of `chain`, and those to one another.
struct WinogradProduct {
  int64_t positions, rows, depth, columns, chain;
  WinogradMatrices a, c;
  const float* b;
};

// For each position c [rows, columns] = a' b, or += a' b; a is depth x rows, b depth x columns.
struct WinogradOuterProduct {
  int64_t positions, rows, depth, columns, chain;
  WinogradMatrices a, b, c;
  bool accumulate;
};

}  // namespace syncbn::backend::cpu
