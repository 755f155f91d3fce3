// Sums over the rows of segments, in double, for each of their channels: in each thread, then over
// the threads of a block as a binary tree, then over the chunks of a segment. No cancellation is
// dealt with here.
#pragma once

#include "backend/cuda/kernels/columns.h"

namespace syncbn::backend::cuda::kernels {

// How many blocks a segment is divided into at most, and how many rows a thread adds up at least
// before.
inline constexpr int64_t kMostSumBlocks = 1024, kLeastSumRows = 8;

inline ColumnGrid MakeSumGrid(int columns, int64_t segments, int64_t rows, int64_t channels) {
  return MakeColumnGrid(columns, segments, rows, channels, kLeastSumRows, kMostSumBlocks, 1);
}
// Doubles of memory that LaunchColumnSums needs for `sums` sums of each channel.
inline int64_t ColumnSumScratch(const ColumnGrid& grid, int sums) {
  return grid.chunks == 1 ? 0 : grid.segments * grid.chunks * sums * grid.channels;
}

// partial[t] += those of the threads `lanes`, 2 lanes, ... further on, for the threads of row 0 of
// each segment: over thread_rows rows, as a binary tree. `partial` has kValues doubles of each
// thread, in planes.
template <int kValues, typename Shared>
SYNCBN_DEVICE void AddThreadRows(Shared& partial, int row, int rows, int lanes, bool busy) {
  int half = 1;
  while (half < rows) half *= 2;
  for (half /= 2; half > 0; half /= 2) {
    Barrier();
    if (busy && row < half && row + half < rows) {
      SYNCBN_UNROLL
      for (int v = 0; v < kValues; ++v) {
        const int at = v * kColumnThreads + Thread();
        partial[at] += static_cast<double>(partial[at + half * lanes]);
      }
    }
  }
  Barrier();
}

// The sums of a chunk. Where it is the only one, body.Finish(segment, channel, sums); otherwise
// scratch[segment][chunk][sum][channel].
template <int kBatch, bool kVector, typename Body>
struct ColumnSumsKernel {
  static constexpr bool kCooperative = true;
  static constexpr int kMostThreads = kColumnThreads;
  // On a multiprocessor, by the registers: with one alone too few loads are under way.
  static constexpr int kLeastBlocks = kVector ? 2 : 1;
  static constexpr int kSums = Body::kSums, kColumns = Body::kColumns;
  ColumnGrid grid;
  Body body;
  double* scratch;

  SYNCBN_DEVICE void operator()() const {
    SYNCBN_SHARED(double, partial, kSums* kColumns* kColumnThreads);
    const ColumnPlace place = PlaceOf<kColumns>(grid);
    double sums[kColumns][kSums];
    SYNCBN_UNROLL
    for (int k = 0; k < kColumns; ++k) {
      SYNCBN_UNROLL
      for (int s = 0; s < kSums; ++s) sums[k][s] = 0;
    }
    {
      const ColumnChannels<Body> channels(grid, place, body);
      ForRows<kBatch, kVector>(grid, place, body,
                               [&](auto wide, int64_t, int columns, const auto& inputs) {
                                 SYNCBN_UNROLL
                                 for (int k = 0; k < kColumns; ++k) {
                                   if (decltype(wide)::kVector || k < columns)
                                     body.Add(channels.of[k], inputs, k, sums[k]);
                                 }
                               });
    }
    SYNCBN_UNROLL
    for (int k = 0; k < kColumns; ++k) {
      SYNCBN_UNROLL
      for (int s = 0; s < kSums; ++s)
        partial[(s * kColumns + k) * kColumnThreads + Thread()] = sums[k][s];
    }
    AddThreadRows<kSums * kColumns>(partial, place.thread_row, grid.thread_rows, grid.lanes,
                                    place.segment_in_block < grid.segments_per_block);
    if (place.thread_row != 0 || place.segment_in_block >= grid.segments_per_block ||
        place.segment >= grid.segments) {
      return;
    }
    // Each column of the tile that is the first of its channel, with those that are the same
    // channel's.
    const int64_t begin = place.tile_begin, end = begin + grid.lanes * kColumns;
    const int first_thread = place.segment_in_block * grid.thread_rows * grid.lanes;
    for (int64_t channel = begin + place.lane; channel < end && channel < grid.channels;
         channel += grid.lanes) {
      double total[kSums];
      SYNCBN_UNROLL
      for (int s = 0; s < kSums; ++s) total[s] = 0;
      for (int64_t column = channel; column < grid.width && column < end; column += grid.channels) {
        const int in_tile = static_cast<int>(column - begin);
        SYNCBN_UNROLL
        for (int s = 0; s < kSums; ++s) {
          total[s] +=
              static_cast<double>(partial[(s * kColumns + in_tile % kColumns) * kColumnThreads +
                                          first_thread + in_tile / kColumns]);
        }
      }
      if (grid.chunks == 1) {
        body.Finish(place.segment, channel, total);
        continue;
      }
      double* const to =
          scratch + (place.segment * grid.chunks + place.chunk) * kSums * grid.channels + channel;
      SYNCBN_UNROLL
      for (int s = 0; s < kSums; ++s) Store(to + s * grid.channels, total[s]);
    }
  }
};

// The sums over the chunks of a segment, for 4 channels in a block of 64 rows of threads.
template <typename Body>
struct ColumnChunksKernel {
  static constexpr bool kCooperative = true;
  static constexpr int kMostThreads = kColumnThreads;
  static constexpr int kSums = Body::kSums, kLanes = 4, kRows = kColumnThreads / kLanes, kBatch = 4;
  ColumnGrid grid;
  Body body;
  const double* scratch;

  SYNCBN_DEVICE void operator()() const {
    SYNCBN_SHARED(double, partial, kSums* kColumnThreads);
    const int64_t tiles = (grid.channels + kLanes - 1) / kLanes;
    const int64_t segment = Block() / tiles, channel = Block() % tiles * kLanes + Thread() % kLanes;
    const int row = Thread() / kLanes;
    const bool there = channel < grid.channels;
    double sums[kSums];
    SYNCBN_UNROLL
    for (int s = 0; s < kSums; ++s) sums[s] = 0;
    const double* const from = scratch + segment * grid.chunks * kSums * grid.channels + channel;
    const int64_t stride = kSums * grid.channels;
    for (int64_t chunk = row; chunk < grid.chunks && there; chunk += kBatch * kRows) {
      double values[kBatch][kSums];
      SYNCBN_UNROLL
      for (int b = 0; b < kBatch; ++b) {
        SYNCBN_UNROLL
        for (int s = 0; s < kSums; ++s) {
          const int64_t at = chunk + b * kRows;
          values[b][s] = at < grid.chunks ? Load(from + at * stride + s * grid.channels) : 0;
        }
      }
      SYNCBN_UNROLL
      for (int b = 0; b < kBatch; ++b) {
        SYNCBN_UNROLL
        for (int s = 0; s < kSums; ++s) sums[s] += values[b][s];
      }
    }
    SYNCBN_UNROLL
    for (int s = 0; s < kSums; ++s) partial[s * kColumnThreads + Thread()] = sums[s];
    AddThreadRows<kSums>(partial, row, kRows, kLanes, true);
    if (row != 0 || !there) return;
    double total[kSums];
    SYNCBN_UNROLL
    for (int s = 0; s < kSums; ++s) total[s] = partial[s * kColumnThreads + Thread()];
    body.Finish(segment, channel, total);
  }
};

// `element_bytes` are read for each element, `result_bytes` moved by all of body.Finish. Also right
// for no rows. `aligned`: all that the body reads begins at multiples of 16 bytes.
template <int kBatch, typename Body>
void LaunchColumnSums(cudaStream_t stream, const char* name, const ColumnGrid& grid,
                      int64_t element_bytes, int64_t result_bytes, bool aligned, double* scratch,
                      const Body& body) {
  if (grid.segments == 0 || grid.channels == 0) return;
  const int64_t scratch_bytes = ColumnSumScratch(grid, Body::kSums) * int64_t{sizeof(double)};
  const LaunchShape shape{
      .name = name,
      .blocks = grid.blocks(),
      .threads = kColumnThreads,
      .bytes = grid.elements() * element_bytes + (grid.chunks == 1 ? result_bytes : scratch_bytes)};
  if (aligned && grid.HasVectors()) {
    Launch(stream, shape, ColumnSumsKernel<kBatch, true, Body>{grid, body, scratch});
  } else {
    // In the same order: only fewer loads at a time, of which there is one for each column of a
    // row.
    Launch(stream, shape, ColumnSumsKernel<kBatch / 2, false, Body>{grid, body, scratch});
  }
  if (grid.chunks == 1) return;
  Launch(stream,
         {.name = name,
          .blocks = grid.segments * CeilDiv(grid.channels, ColumnChunksKernel<Body>::kLanes),
          .threads = kColumnThreads,
          .bytes = scratch_bytes + result_bytes},
         ColumnChunksKernel<Body>{grid, body, scratch});
}

}  // namespace syncbn::backend::cuda::kernels
