// Iterative normalization: what goes over the rows of activations.
#include <algorithm>
#include <cmath>

#include "backend/cuda/kernels/each.h"
#include "backend/cuda/kernels/elements.h"
#include "backend/cuda/kernels/tile_product.h"
#include "backend/cuda/kernels/whitening.h"

namespace syncbn::backend::cuda::kernels {
namespace {

constexpr int64_t kDouble = sizeof(double);
// Rows of a piece: so many, and more where there would be too many pieces.
constexpr int64_t kPieceRows = 512, kMostPieces = 256;
constexpr int kReduceThreads = 256;

int64_t RowsOfPiece(int64_t rows) {
  return std::max(kPieceRows, CeilDiv(rows, kMostPieces));
}

// Sums over the rows of one piece of products of pairs of channels of a group, a b^T, and of a
// itself:
//   kTriangle   a = b = x - x_0, x_0 the first row of all (a shift by which nothing cancels: the
//   products are double);
//               only the tiles of the upper triangle; partial [count, sums[d], triangle]
//   otherwise   a = dxhat, b = x - mean; partial [sums[d], d x d]
// A block for each piece, group and tile of 64 x 64. Moved: of each tile the columns of a and of b
// (those of a tile of the diagonal twice, the second time from the cache), the partial
// sums once.
template <bool kTriangle, typename T>
struct PairsKernel {
  static constexpr bool kCooperative = true;
  static constexpr int kMostThreads = kTileThreads;
  Groups groups;
  const T* x;
  const double* mean;
  const T* dxhat;
  int64_t rows, piece_rows;
  int64_t piece_elements;  // of a piece in `partial`
  double* partial;

  SYNCBN_DEVICE void operator()() const {
    const int64_t tiles = TilesOf(groups.Most());
    const int64_t tile = Block() % (tiles * tiles);
    const int64_t row_tile = tile / tiles, column_tile = tile % tiles;
    const int64_t k = Block() / (tiles * tiles) % groups.groups;
    const int64_t piece = Block() / (tiles * tiles * groups.groups);
    const int64_t d = groups.Size(k);
    if (row_tile >= TilesOf(d) || column_tile >= TilesOf(d) ||
        (kTriangle && row_tile > column_tile))
      return;

    const int64_t first = piece * piece_rows;
    const TileExtent extent{
        .rows = TileSize(d, row_tile),
        .columns = TileSize(d, column_tile),
        .depth = static_cast<int>(first + piece_rows < rows ? piece_rows : rows - first)};
    const int stride = static_cast<int>(groups.channels);
    const int64_t row_begin = groups.Begin(k) + row_tile * kTile,
                  column_begin = groups.Begin(k) + column_tile * kTile;
    const T* const a_from = (kTriangle ? x : dxhat) + first * groups.channels + row_begin;
    const T* const b_from = x + first * groups.channels + column_begin;
    const auto deviation = [&](const T* from, int64_t begin, int row, int i) {
      const double shift =
          kTriangle ? static_cast<double>(LoadFloatCached(x + begin + i)) : LoadCached(mean + begin + i);
      return static_cast<double>(LoadFloat(from + int64_t{row} * stride + i)) - shift;
    };
    // Of a, by the first threads of the tiles that are the first, or the only ones, of their row.
    const bool sums_too = kTriangle ? row_tile == column_tile : column_tile == 0;
    double sum = 0;
    double sums[kTileOfThread][kTileOfThread] = {};
    AddTileProduct<false>(
        extent,
        [&](int i, int row) {
          if constexpr (kTriangle) {
            return deviation(a_from, row_begin, row, i);
          } else {
            return static_cast<double>(LoadFloat(a_from + int64_t{row} * stride + i));
          }
        },
        [&](int row, int j) { return deviation(b_from, column_begin, row, j); },
        [&](const auto& left, int depth) {
          if (!sums_too || Thread() >= extent.rows) return;
          for (int row = 0; row < depth; ++row) sum += left[row * kTilePitch + Thread()];
        },
        sums);

    double* to = partial + piece * piece_elements;
    if constexpr (kTriangle) {
      to += k * (1 + groups.group + Triangle(groups.group));
      if (sums_too && row_tile == 0 && Thread() == 0) Store(to, static_cast<double>(extent.depth));
      ++to;
    } else {
      to += groups.Offset(k, 0, 1, 1);
    }
    if (sums_too && Thread() < extent.rows) Store(to + row_tile * kTile + Thread(), sum);
    to += d;
    ForTile(extent, sums, [&](int i, int j, double value) {
      const int64_t row = row_tile * kTile + i, column = column_tile * kTile + j;
      if constexpr (kTriangle) {
        if (row <= column) Store(to + TriangleAt(d, row, column), value);
      } else {
        Store(to + row * d + column, value);
      }
    });
  }
};

// to[e] = the sum over the pieces, in their order, of from[piece][e]. A thread for each element.
// Moved: the pieces, and the sums.
struct AddPiecesKernel {
  static constexpr bool kCooperative = false;
  static constexpr int kAtOnce = 8;  // loads on their way
  const double* from;
  int64_t pieces, elements;
  double* to;

  SYNCBN_DEVICE void operator()() const {
    const int64_t e = GlobalThread();
    if (e >= elements) return;
    double sum = 0;
    for (int64_t piece = 0; piece < pieces; piece += kAtOnce) {
      double some[kAtOnce];
      SYNCBN_UNROLL
      for (int k = 0; k < kAtOnce; ++k) {
        some[k] = piece + k < pieces ? Load(from + (piece + k) * elements + e) : 0;
      }
      SYNCBN_UNROLL
      for (int k = 0; k < kAtOnce; ++k) sum += some[k];
    }
    Store(to + e, sum);
  }
};

// From sums s and P over all n rows of x - x_0 and its products: mean = x_0 + s / n, co-moments P -
// s s^T / n. A thread for each element of [count, mean[d], triangle] of a group, a row of the
// triangle (and what is before it) at a time. Moved: sums once, moments once.
template <typename T>
struct FinishCoMomentsKernel {
  static constexpr bool kCooperative = false;
  Groups groups;
  const T* x;
  const double* sums;
  int64_t rows;
  double* moments;

  SYNCBN_DEVICE void operator()() const {
    const int64_t most = groups.Most(), square = most * most;
    const int64_t e = GlobalThread() % square, k = GlobalThread() / square;
    if (k >= groups.groups) return;
    const int64_t d = groups.Size(k), i = e / most, j = e % most;
    if (j >= d || i > j) return;
    const int64_t at = k * (1 + groups.group + Triangle(groups.group));
    const double* const from = sums + at;
    double* const to = moments + at;
    const double count = static_cast<double>(rows);
    const double share = rows == 0 ? 0 : 1 / count;
    if (e == 0) Store(to, count);
    if (i == 0) {
      const double first = rows == 0 ? 0 : static_cast<double>(LoadFloatCached(x + groups.Begin(k) + j));
      Store(to + 1 + j, first + LoadCached(from + 1 + j) * share);
    }
    const int64_t place = 1 + d + TriangleAt(d, i, j);
    const double cross = LoadCached(from + 1 + i) * LoadCached(from + 1 + j) * share;
    Store(to + place, Load(from + place) - cross);
  }
};

// y = sum over the terms of (x - shift) matrix, for a tile of 64 rows and 64 channels of a group by
// each block. Moved: x of each term once for each tile of columns, y once; the matrices come from
// the cache.
template <typename T>
struct RowsKernel {
  static constexpr bool kCooperative = true;
  static constexpr int kMostThreads = kTileThreads;
  Groups groups;
  RowsTerm<T> terms[2];
  int count;
  int64_t rows;
  T* y;

  SYNCBN_DEVICE void operator()() const {
    const int64_t tiles = TilesOf(groups.Most());
    const int64_t column_tile = Block() % tiles, k = Block() / tiles % groups.groups;
    const int64_t row_tile = Block() / (tiles * groups.groups);
    const int64_t d = groups.Size(k), begin = groups.Begin(k);
    if (column_tile >= TilesOf(d)) return;
    const int size = static_cast<int>(d), stride = static_cast<int>(groups.channels);
    const TileExtent extent{
        .rows = TileSize(rows, row_tile), .columns = TileSize(d, column_tile), .depth = size};
    double sums[kTileOfThread][kTileOfThread] = {};
    for (int t = 0; t < count; ++t) {
      const T* const x =
          (t == 0 ? terms[0].x : terms[1].x) + row_tile * kTile * groups.channels + begin;
      const double* const shift = (t == 0 ? terms[0].shift : terms[1].shift) + begin;
      const double* const matrix = (t == 0 ? terms[0].matrices : terms[1].matrices) +
                                   groups.Offset(k, 0, 0, 1) + column_tile * kTile;
      AddTileProduct<true>(
          extent,
          [&](int row, int i) {
            return static_cast<double>(LoadFloat(x + int64_t{row} * stride + i)) - LoadCached(shift + i);
          },
          [&](int i, int j) { return LoadCached(matrix + int64_t{i} * size + j); },
          [](const auto&, int) {}, sums);
    }
    T* const to = y + row_tile * kTile * groups.channels + begin + column_tile * kTile;
    ForTile(extent, sums, [&](int i, int j, double value) {
      StoreFloat(to + i * groups.channels + j, static_cast<float>(value));
    });
  }
};

// -- What is moved --------------------------------------------------------------------------------

// Channels that the tiles of all groups read of a and b.
int64_t ChannelsOfPairs(const Groups& groups, bool triangle) {
  int64_t channels = 0;
  for (int64_t k = 0; k < groups.groups; ++k) {
    const int64_t d = groups.Size(k), tiles = TilesOf(d);
    for (int64_t row = 0; row < tiles; ++row) {
      for (int64_t column = triangle ? row : 0; column < tiles; ++column) {
        channels += TileSize(d, row) + TileSize(d, column);
      }
    }
  }
  return channels;
}

void AddPieces(cudaStream_t stream, const double* from, int64_t pieces, int64_t elements,
               double* to) {
  Launch(stream,
         {.name = "sums of pieces",
          .blocks = CeilDiv(elements, kReduceThreads),
          .threads = kReduceThreads,
          .bytes = (pieces + 1) * elements * kDouble},
         AddPiecesKernel{from, pieces, elements, to});
}

template <bool kTriangle, typename T>
void AddPairs(cudaStream_t stream, const char* name, PairsKernel<kTriangle, T> kernel) {
  const int64_t tiles = TilesOf(kernel.groups.Most()), pieces = RowPieces(kernel.rows);
  kernel.piece_rows = RowsOfPiece(kernel.rows);
  Launch(stream,
         {.name = name,
          .blocks = pieces * kernel.groups.groups * tiles * tiles,
          .threads = kTileThreads,
          .bytes = kernel.rows * ChannelsOfPairs(kernel.groups, kTriangle) * int64_t{sizeof(T)} +
                   pieces * kernel.piece_elements * kDouble},
         kernel);
}

}  // namespace

int64_t RowPieces(int64_t rows) {
  return CeilDiv(rows, RowsOfPiece(rows));
}

template <typename T>
void CoMoments(cudaStream_t stream, const WhiteningSpec& spec, const T* x, int64_t rows,
               double* scratch, double* moments) {
  const Groups groups(spec);
  int64_t elements = 0;
  for (int64_t k = 0; k < groups.groups; ++k)
    elements += 1 + groups.Size(k) + Triangle(groups.Size(k));
  double* const sums = scratch + RowPieces(rows) * elements;
  AddPairs(stream, "co-moments",
           PairsKernel<true, T>{.groups = groups,
                             .x = x,
                             .mean = nullptr,
                             .dxhat = nullptr,
                             .rows = rows,
                             .piece_rows = 0,
                             .piece_elements = elements,
                             .partial = scratch});
  AddPieces(stream, scratch, RowPieces(rows), elements, sums);
  Launch(stream,
         {.name = "finish co-moments",
          .blocks = CeilDiv(groups.groups * groups.Most() * groups.Most(), kReduceThreads),
          .threads = kReduceThreads,
          .bytes = (2 * elements - groups.channels - groups.groups) * kDouble},
         FinishCoMomentsKernel<T>{groups, x, sums, rows, moments});
}

template <typename T>
void WhitenSums(cudaStream_t stream, const WhiteningSpec& spec, const T* x, const double* mean,
                const T* dxhat, int64_t rows, double* scratch, double* sums) {
  const int64_t elements = spec.channels + spec.matrix_elements();
  AddPairs(stream, "sums of a whitening's gradient",
           PairsKernel<false, T>{.groups = Groups(spec),
                              .x = x,
                              .mean = mean,
                              .dxhat = dxhat,
                              .rows = rows,
                              .piece_rows = 0,
                              .piece_elements = elements,
                              .partial = scratch});
  AddPieces(stream, scratch, RowPieces(rows), elements, sums);
}

template <typename T>
void WhitenRows(cudaStream_t stream, const WhiteningSpec& spec, const RowsTerm<T>* terms, int count,
                int64_t rows, T* y) {
  const Groups groups(spec);
  int64_t channels = 0;  // read of a row of each term
  for (int64_t k = 0; k < groups.groups; ++k) channels += groups.Size(k) * TilesOf(groups.Size(k));
  RowsKernel<T> kernel{.groups = groups, .terms = {}, .count = count, .rows = rows, .y = y};
  for (int t = 0; t < count; ++t) kernel.terms[t] = terms[t];
  Launch(stream,
         {.name = "whiten",
          .blocks = CeilDiv(rows, kTile) * groups.groups * TilesOf(groups.Most()),
          .threads = kTileThreads,
          .bytes = rows * (count * channels + groups.channels) * int64_t{sizeof(T)}},
         kernel);
}

template void CoMoments(cudaStream_t, const WhiteningSpec&, const float*, int64_t, double*, double*);
template void WhitenSums(cudaStream_t, const WhiteningSpec&, const float*, const double*, const float*, int64_t,
                         double*, double*);
template void WhitenRows(cudaStream_t, const WhiteningSpec&, const RowsTerm<float>*, int, int64_t, float*);
template void CoMoments(cudaStream_t, const WhiteningSpec&, const BFloat16*, int64_t, double*, double*);
template void WhitenSums(cudaStream_t, const WhiteningSpec&, const BFloat16*, const double*, const BFloat16*, int64_t,
                         double*, double*);
template void WhitenRows(cudaStream_t, const WhiteningSpec&, const RowsTerm<BFloat16>*, int, int64_t, BFloat16*);

}  // namespace syncbn::backend::cuda::kernels
