// How a matrix rows x channels is walked with vectors, for any number of channels.
//
// `repeat` consecutive rows are seen as one wide row, so that few channels fill several whole
// vectors and coefficients (repeated as often) need no permutation: 16 channels become rows of 64.
// Four wide rows are taken together: a coefficient or an accumulator is loaded once for the four.
#pragma once

#include "backend/cpu/kernels/kernel_table.h"
#include "backend/cpu/kernels/simd.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {

// Widest row made by repeating; beyond it a row ends in a Part.
inline constexpr int64_t kMaxRepeatedWidth = 1024;
// So few rows (a segment of a layer or instance norm) are walked down, one vector of channels after
// the other, with nothing in memory between.
inline constexpr int64_t kFewRows = 16;

struct Grid {
  int64_t channels;
  int64_t repeat;
  int64_t width;  // elements of a wide row
  int64_t rows;   // whole wide rows
  int64_t rest;   // elements behind the last whole one, a multiple of channels
};

inline Grid MakeGrid(int64_t rows, int64_t channels) {
  int64_t repeat = 1;
  while (repeat < kLanes && channels * repeat % kLanes != 0) repeat *= 2;
  if (channels * repeat > kMaxRepeatedWidth) repeat = 1;
  // Accumulators live in memory between groups of rows: fewer than three vectors would wait for
  // them.
  while (channels * repeat < 3 * kLanes) repeat *= 2;
  if (rows <= kFewRows && channels >= kLanes) repeat = 1;
  if (repeat > rows) repeat = rows > 0 ? rows : 1;
  return {channels, repeat, channels * repeat, rows / repeat, rows % repeat * channels};
}

template <int kCount>
struct RowCount {
  static constexpr int kValue = kCount;
};

// op(RowCount<n>, at, column, lanes): n wide rows at `column`; the first begins at element `at`,
// the next is grid.width further. Wide rows [begin, end), and the rest with the last.
template <int kMost = 4, typename Op>
inline void SweepRows(const Grid& grid, int64_t begin, int64_t end, Op op) {
  int64_t row = begin;
  if constexpr (kMost == 8) {
    for (; row + 8 <= end; row += 8) {
      ForVectors(grid.width, [&](int64_t column, auto lanes) {
        op(RowCount<8>{}, row * grid.width + column, column, lanes);
      });
    }
  }
  for (; row + 4 <= end; row += 4) {
    ForVectors(grid.width, [&](int64_t column, auto lanes) {
      op(RowCount<4>{}, row * grid.width + column, column, lanes);
    });
  }
  for (; row < end; ++row) {
    ForVectors(grid.width, [&](int64_t column, auto lanes) {
      op(RowCount<1>{}, row * grid.width + column, column, lanes);
    });
  }
  if (end == grid.rows && grid.rest > 0) {
    ForVectors(grid.rest, [&](int64_t column, auto lanes) {
      op(RowCount<1>{}, end * grid.width + column, column, lanes);
    });
  }
}

template <typename Op>
inline void Sweep(const Grid& grid, Op op) {
  SweepRows(grid, 0, grid.rows, op);
}

// Arrays one behind the other in the scratch memory, each padded by a vector.
class Scratch {
 public:
  explicit Scratch(void* memory) : next_(static_cast<char*>(memory)) {}
  float* Floats(int64_t count) { return static_cast<float*>(Take(count * 4)); }
  double* Doubles(int64_t count) { return static_cast<double*>(Take(count * 8)); }

 private:
  void* Take(int64_t bytes) {
    void* result = next_;
    next_ += (bytes + 2 * 64 + 63) / 64 * 64;
    return result;
  }
  char* next_;
};

// Fills the wide row from its first `channels` elements (and up to a vector of padding behind it).
inline void Repeat(const Grid& grid, float* values) {
  int64_t period = grid.channels;
  for (; period < kLanes && period < grid.width; period += grid.channels) {
    for (int64_t c = 0; c < grid.channels; ++c) values[period + c] = values[c];
  }
  for (int64_t i = period; i < grid.width; i += kLanes) {
    Store(values + i, Load(values + i - period, Full{}), Full{});
  }
}

// Sums over all rows of a segment for each channel: `partial` gives a group's contribution, which
// is added in float; after 64 wide rows the sums go to double, so that rounding stays under 16
// additions deep whatever the number of rows. Few rows are added in double: the mean of few
// equal elements is then that element, and what a batch norm's gradient takes away of them leaves
// nothing. Few are 64 wide rows of features and 16 of pixels, of which there are mostly more.
template <int kSums>
struct Totals {
  float* partial[kSums];  // [width]
  double* total[kSums];   // [width]; the first `channels` hold the result

  Totals(Scratch& scratch, int64_t width) {
    for (int s = 0; s < kSums; ++s) {
      partial[s] = scratch.Floats(width);
      total[s] = scratch.Doubles(width);
    }
  }

  // op(RowCount<n>, at, column, lanes, Vec sums[kSums]) sets the sums over the n rows: 1 or 4.
  template <typename Op>
  void Run(const Grid& grid, bool features, Op op) {
    if (grid.rows <= (features ? kRowsInFloat : kFewRows)) {
      RunFewRows(grid, op);
      MergeCopies(grid);
    } else {
      RunManyRows<4>(grid, op);
    }
  }

  // However few they are; n is 1, 4 or kMost.
  template <int kMost, typename Op>
  void RunManyRows(const Grid& grid, Op op) {
    for (int s = 0; s < kSums; ++s) {
      for (int64_t i = 0; i < grid.width + kLanes; ++i) partial[s][i] = 0;
      for (int64_t i = 0; i < grid.width + kLanes; ++i) total[s][i] = 0;
    }
    int64_t row = 0;
    do {
      const int64_t end = row + kRowsInFloat < grid.rows ? row + kRowsInFloat : grid.rows;
      SweepRows<kMost>(grid, row, end, [&](auto rows, int64_t at, int64_t column, auto lanes) {
        Vec sums[kSums];
        op(rows, at, column, lanes, sums);
        for (int s = 0; s < kSums; ++s) {
          float* where = partial[s] + column;
          Store(where, Add(Load(where, lanes), sums[s]), lanes);
        }
      });
      for (int s = 0; s < kSums; ++s) Flush(partial[s], total[s], grid.width);
      row = end;
    } while (row < grid.rows);
    MergeCopies(grid);
  }

 private:
  static constexpr int64_t kRowsInFloat = 64;

  // A wide row holds every channel `repeat` times.
  void MergeCopies(const Grid& grid) {
    for (int s = 0; s < kSums; ++s) {
      for (int64_t k = 1; k < grid.repeat; ++k) {
        const double* copy = total[s] + k * grid.channels;
        for (int64_t c = 0; c < grid.channels; ++c) total[s][c] += copy[c];
      }
    }
  }

  template <typename Op>
  void RunFewRows(const Grid& grid, Op op) {
    ForVectors(grid.width, [&](int64_t column, auto lanes) {
      VecD low[kSums] = {}, high[kSums] = {};
      for (int64_t row = 0; row < grid.rows; ++row) {
        Vec one[kSums];
        op(RowCount<1>{}, row * grid.width + column, column, lanes, one);
        for (int s = 0; s < kSums; ++s) {
          low[s] = AddD(low[s], LowD(one[s]));
          high[s] = AddD(high[s], HighD(one[s]));
        }
      }
      for (int s = 0; s < kSums; ++s) {
        StoreD(total[s] + column, low[s]);
        StoreD(total[s] + column + kDoubleLanes, high[s]);
      }
    });
    ForVectors(grid.rest, [&](int64_t column, auto lanes) {
      Vec part[kSums];
      op(RowCount<1>{}, grid.rows * grid.width + column, column, lanes, part);
      for (int s = 0; s < kSums; ++s) {
        double* where = total[s] + column;
        StoreD(where, AddD(LoadD(where), LowD(part[s])));
        where += kDoubleLanes;
        StoreD(where, AddD(LoadD(where), HighD(part[s])));
      }
    });
  }

  static void Flush(float* partial, double* total, int64_t width) {
    for (int64_t i = 0; i < width; i += kLanes) {
      const Vec value = Load(partial + i, Full{});
      StoreD(total + i, AddD(LoadD(total + i), LowD(value)));
      StoreD(total + i + kDoubleLanes, AddD(LoadD(total + i + kDoubleLanes), HighD(value)));
      Store(partial + i, Broadcast(0), Full{});
    }
  }
};

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
