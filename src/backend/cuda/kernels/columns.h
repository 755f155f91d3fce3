// How kernels over rows x channels are laid out: what they share of places, accesses and sums over
// rows.
//
// A segment is a matrix of rows x channels elements, of which 16 bytes are `columns`: 4 of float, 8
// of BFloat16. Its rows are taken `fold` together where channels are few and no multiple of that,
// so that a row of the grid, of `width` elements, can be read in such vectors. What is left of the
// last such row is the tail. A block takes a tile of columns of a chunk of rows, or the same tile
// of several short segments; its threads lie in `thread_rows` rows of `lanes` threads, `columns`
// columns each:
//
//   thread = (segment in the block * thread_rows + row) * lanes + lane
//
// and a thread treats rows row, row + thread_rows, ... of the chunk. In what order things are added
// follows from the type of the elements and from rows and channels of a segment alone: not from
// addresses, from how many segments there are, or from the device.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "backend/cuda/kernels/each.h"
#include "backend/cuda/kernels/elements.h"
#include "kernel_language.h"

namespace syncbn::backend::cuda::kernels {

inline constexpr int kColumnThreads = 256, kColumnLanes = 32;

struct ColumnGrid {
  int columns = 4;  // of a thread: kColumns of the body
  int64_t segments = 0, channels = 0;
  int64_t segment_elements = 0;
  int64_t rows = 0, width = 0;  // of the grid, in each segment
  int64_t tail = 0;             // elements behind them
  int lanes = 1, thread_rows = 1, segments_per_block = 1;
  int64_t tiles = 1, chunks = 1, chunk_rows = 0;

  int64_t blocks() const { return CeilDiv(segments, segments_per_block) * chunks * tiles; }
  int64_t elements() const { return segments * segment_elements; }
  // Whether vectors lie at multiples of 16 bytes, when the segments begin there.
  bool HasVectors() const {
    return width % columns == 0 && (segments == 1 || segment_elements % columns == 0);
  }
};

// With `least_rows` for each thread of a chunk, and a multiple of that where otherwise there were
// more than `most_blocks` in `segments_at_once` segments.
inline ColumnGrid MakeColumnGrid(int columns, int64_t segments, int64_t rows, int64_t channels,
                                 int64_t least_rows, int64_t most_blocks,
                                 int64_t segments_at_once) {
  ColumnGrid grid{.columns = columns,
                  .segments = segments,
                  .channels = channels,
                  .segment_elements = rows * channels};
  int64_t fold = columns / std::gcd(channels, int64_t{columns});
  if (channels * fold > kColumnLanes * columns || rows < fold) fold = 1;
  grid.width = channels * fold;
  grid.rows = rows / fold;
  grid.tail = (rows - grid.rows * fold) * channels;
  const int64_t vectors = std::max<int64_t>(1, CeilDiv(grid.width, columns));
  grid.tiles = CeilDiv(vectors, kColumnLanes);
  grid.lanes = static_cast<int>(CeilDiv(vectors, grid.tiles));
  const int64_t most_thread_rows = kColumnThreads / grid.lanes;
  const int64_t thread_rows = std::clamp<int64_t>(CeilDiv(grid.rows, 4), 1, most_thread_rows);
  grid.thread_rows = static_cast<int>(thread_rows);
  grid.segments_per_block = static_cast<int>(most_thread_rows / thread_rows);
  const int64_t batches =
      CeilDiv(grid.rows * grid.tiles * segments_at_once, thread_rows * least_rows * most_blocks);
  grid.chunk_rows = thread_rows * least_rows * std::max<int64_t>(1, batches);
  grid.chunks = std::max<int64_t>(1, CeilDiv(grid.rows, grid.chunk_rows));
  if (grid.chunks > 1) grid.segments_per_block = 1;
  return grid;
}

// What one thread of a grid treats.
struct ColumnPlace {
  int lane, thread_row, segment_in_block;
  int64_t segment, chunk, tile_begin, column;
  int64_t row, end;  // its first row, and where those of its chunk end
  int columns;       // 0 to kColumns: those that there are; 0 for a thread that treats nothing
  int tail_columns;  // of the tail, when it treats that
};

template <int kColumns>
SYNCBN_DEVICE ColumnPlace PlaceOf(const ColumnGrid& grid) {
  ColumnPlace place;
  place.lane = Thread() % grid.lanes;
  const int above = Thread() / grid.lanes;
  place.thread_row = above % grid.thread_rows;
  place.segment_in_block = above / grid.thread_rows;
  // 32 bits hold the number of a block; division by 64 is slow.
  const uint32_t tiles = static_cast<uint32_t>(grid.tiles),
                 chunks = static_cast<uint32_t>(grid.chunks);
  const uint32_t tile = static_cast<uint32_t>(Block()) % tiles,
                 rest = static_cast<uint32_t>(Block()) / tiles;
  place.chunk = rest % chunks;
  place.segment = int64_t{rest / chunks} * grid.segments_per_block + place.segment_in_block;
  place.tile_begin = int64_t{tile} * grid.lanes * kColumns;
  place.column = place.tile_begin + place.lane * kColumns;
  const bool busy =
      place.segment_in_block < grid.segments_per_block && place.segment < grid.segments;
  const int64_t there = busy ? grid.width - place.column : 0;
  place.columns = there <= 0 ? 0 : there < kColumns ? static_cast<int>(there) : kColumns;
  const int64_t begin = place.chunk * grid.chunk_rows;
  place.row = begin + place.thread_row;
  place.end = begin + grid.chunk_rows < grid.rows ? begin + grid.chunk_rows : grid.rows;
  const int64_t behind =
      place.thread_row == 0 && place.chunk + 1 == grid.chunks ? grid.tail - place.column : 0;
  place.tail_columns = behind <= 0 || place.columns == 0 ? 0
                       : behind < kColumns               ? static_cast<int>(behind)
                                                         : kColumns;
  return place;
}

// 16 bytes of elements, of which `columns` are there; all of them, at a multiple of 16 bytes, where
// kVector.
template <typename T>
using Columns = Vector<T, kInVector<T>>;
template <bool kVector, typename T>
SYNCBN_DEVICE Columns<T> LoadColumns(const T* from, int columns) {
  if constexpr (kVector) {
    return LoadVector<kInVector<T>>(from);
  } else {
    Columns<T> values;
    SYNCBN_UNROLL
    for (int k = 0; k < kInVector<T>; ++k) values[k] = k < columns ? Load(from + k) : T(0.0F);
    return values;
  }
}
template <bool kVector, typename T>
SYNCBN_DEVICE void StoreColumns(T* to, const Columns<T>& values, int columns) {
  if constexpr (kVector) {
    StoreVector(to, values);
  } else {
    SYNCBN_UNROLL
    for (int k = 0; k < kInVector<T>; ++k) {
      if (k < columns) Store(to + k, values[k]);
    }
  }
}

template <bool kValue>
struct Wide {
  static constexpr bool kVector = kValue;
};

// Calls body.Fetch<kVector>(i, columns) and use(Wide<kVector>, i, columns, what it gave) for all
// that a thread treats; i is the index of the first of its elements. kBatch rows are fetched before
// the first of them is used.
template <int kBatch, bool kVector, typename Body, typename Use>
SYNCBN_DEVICE void ForRows(const ColumnGrid& grid, const ColumnPlace& place, const Body& body,
                           const Use& use) {
  if (place.columns == 0) return;
  const int64_t step = grid.thread_rows, stride = step * grid.width;
  const int64_t first = place.segment * grid.segment_elements + place.column;
  int64_t row = place.row, i = first + row * grid.width;
  for (; row + (kBatch - 1) * step < place.end; row += kBatch * step, i += kBatch * stride) {
    typename Body::Inputs inputs[kBatch];
    SYNCBN_UNROLL
    for (int b = 0; b < kBatch; ++b)
      inputs[b] = body.template Fetch<kVector>(i + b * stride, place.columns);
    SYNCBN_UNROLL
    for (int b = 0; b < kBatch; ++b) use(Wide<kVector>(), i + b * stride, place.columns, inputs[b]);
  }
  for (; row < place.end; row += step, i += stride) {
    use(Wide<kVector>(), i, place.columns, body.template Fetch<kVector>(i, place.columns));
  }
  if (place.tail_columns > 0) {
    const int64_t tail = first + grid.rows * grid.width;
    use(Wide<false>(), tail, place.tail_columns,
        body.template Fetch<false>(tail, place.tail_columns));
  }
}

// body.ChannelOf(segment, channel) for each of a thread's columns; what there is for columns that
// are not is not used.
template <typename Body>
struct ColumnChannels {
  static constexpr int kColumns = Body::kColumns;
  typename Body::Channel of[kColumns];
  SYNCBN_DEVICE ColumnChannels(const ColumnGrid& grid, const ColumnPlace& place, const Body& body) {
    SYNCBN_UNROLL
    for (int k = 0; k < kColumns; ++k) {
      if (k >= place.columns) continue;
      const int64_t column = place.column + k;
      // Rows that are taken together are short.
      const int64_t channel =
          grid.width == grid.channels
              ? column
              : int64_t{static_cast<uint32_t>(column) % static_cast<uint32_t>(grid.channels)};
      of[k] = body.ChannelOf(place.segment, channel);
    }
  }
};

// -- Elementwise ---------------------------------------------------------------------------------
// body.Write<kVector>(i, columns, channels, inputs) for all elements.
template <int kBatch, bool kVector, typename Body>
struct ColumnEachKernel {
  static constexpr bool kCooperative = false;
  static constexpr int kMostThreads = kColumnThreads;
  ColumnGrid grid;
  Body body;

  SYNCBN_DEVICE void operator()() const {
    const ColumnPlace place = PlaceOf<Body::kColumns>(grid);
    if (place.columns == 0) return;
    const ColumnChannels<Body> channels(grid, place, body);
    ForRows<kBatch, kVector>(
        grid, place, body, [&](auto wide, int64_t i, int columns, const auto& inputs) {
          body.template Write<decltype(wide)::kVector>(i, columns, channels.of, inputs);
        });
  }
};

// `bytes`: moved for each element. `aligned`: all of the body's tensors begin at multiples of 16
// bytes.
template <int kBatch, typename Body>
void LaunchColumnEach(cudaStream_t stream, const char* name, int64_t segments, int64_t rows,
                      int64_t channels, int64_t bytes, bool aligned, const Body& body) {
  const ColumnGrid grid =
      MakeColumnGrid(Body::kColumns, segments, rows, channels, kBatch, 4096, segments);
  if (grid.elements() == 0) return;
  const LaunchShape shape{.name = name,
                          .blocks = grid.blocks(),
                          .threads = kColumnThreads,
                          .bytes = grid.elements() * bytes};
  if (aligned && grid.HasVectors()) {
    Launch(stream, shape, ColumnEachKernel<kBatch, true, Body>{grid, body});
  } else {
    Launch(stream, shape, ColumnEachKernel<kBatch, false, Body>{grid, body});
  }
}

}  // namespace syncbn::backend::cuda::kernels
