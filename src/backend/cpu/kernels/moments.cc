// Mean and M2 of rows x channels without cancellation, in one pass over memory.
//
// The usual way (mean and M2 of cache-sized blocks by two passes each, merged by Chan's formula)
// reads every block twice. Here all rows of a segment are taken relative to a shift K, a value of
// the segment close to its mean: d = x - K, exact where it matters, and
//   mean = K + sum(d) / n,   M2 = sum(d^2) - sum(d)^2 / n,
// with the sums in float over 64 wide rows and in double beyond. The relative error of M2 is that
// of sum(d^2) times 1 + n (mean - K)^2 / M2. That factor is known at the end: where it exceeds 4
// for some channel (rows that do not resemble their segment), the segment is taken again with K =
// its mean, and is then what two passes give. So the accuracy never depends on luck, only the time
// does.
#include "backend/cpu/kernels/grid.h"
#include "backend/cpu/kernels/kernels.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {
namespace {

// Up to here both passes are made in double.
constexpr int64_t kRowsInDouble = 32, kFeatureRowsInDouble = 64;

void MomentsOfFewRows(int64_t rows, int64_t channels, const float* x, double* mean, double* m2) {
  if (rows == 1) {
    for (int64_t c = 0; c < channels; ++c) {
      mean[c] = x[c];
      m2[c] = 0;
    }
    return;
  }
  const VecD count = BroadcastD(static_cast<double>(rows));
  alignas(64) double means[kLanes], squares[kLanes];
  ForVectors(channels, [&](int64_t column, auto lanes) {
    VecD low = BroadcastD(0), high = BroadcastD(0);
    for (int64_t r = 0; r < rows; ++r) {
      const Vec value = Load(x + r * channels + column, lanes);
      low = AddD(low, LowD(value));
      high = AddD(high, HighD(value));
    }
    const VecD mean_low = DivD(low, count), mean_high = DivD(high, count);
    low = BroadcastD(0);
    high = BroadcastD(0);
    for (int64_t r = 0; r < rows; ++r) {
      const Vec value = Load(x + r * channels + column, lanes);
      const VecD d_low = SubD(LowD(value), mean_low), d_high = SubD(HighD(value), mean_high);
      low = FmaD(d_low, d_low, low);
      high = FmaD(d_high, d_high, high);
    }
    StoreD(means, mean_low);
    StoreD(means + kDoubleLanes, mean_high);
    StoreD(squares, low);
    StoreD(squares + kDoubleLanes, high);
    for (int64_t i = 0; i < kLanes && column + i < channels; ++i) {
      mean[column + i] = means[i];
      m2[column + i] = squares[i];
    }
  });
}

// K: of some rows, the value nearest to their mean; small integers stay small integers. The rows
// are at irregular places: regular ones would all lie in the same column of an image.
void GuessShift(const Grid& grid, int64_t rows, const float* x, float* shift) {
  // A multiple of 4, from 8 to 32; about a row of 32, for they are read twice.
  const int64_t wanted = rows / 128 * 4;
  const int64_t samples = wanted < 8 ? 8 : wanted > 32 ? 32 : wanted;
  const float inverse = 1.0f / static_cast<float>(samples);
  // Multiples of the golden ratio's fraction, in 32 bits, are spread evenly at every count.
  const auto row_of = [&](int64_t i) {
    const uint64_t fraction = static_cast<uint32_t>(i) * 2654435769u;
    return x + static_cast<int64_t>((fraction * static_cast<uint64_t>(rows)) >> 32) * grid.channels;
  };
  ForVectors(grid.channels, [&](int64_t column, auto lanes) {
    // Relative to the first row, so that the mean is exact for a channel that does not vary.
    const Vec first = Load(x + column, lanes);
    Vec sums[4] = {};
    for (int64_t i = 0; i < samples; i += 4) {
      for (int k = 0; k < 4; ++k) {
        sums[k] = Add(sums[k], Sub(Load(row_of(i + k) + column, lanes), first));
      }
    }
    const Vec sum = Add(Add(sums[0], sums[1]), Add(sums[2], sums[3]));
    const Vec mean = Fma(sum, Broadcast(inverse), first);
    Vec best = first, distance = Abs(Sub(first, mean));
    for (int64_t i = 1; i < samples; ++i) {
      const Vec value = Load(row_of(i) + column, lanes);
      const Vec apart = Abs(Sub(value, mean));
      best = Select(Greater(distance, apart), value, best);
      distance = Min(distance, apart);
    }
    Store(shift + column, best, lanes);
  });
}

// sum(x - K) and sum((x - K)^2)
template <bool kFar>
void SumShifted(const Grid& grid, const float* x, const float* shift, Totals<2>& totals) {
  totals.template RunManyRows<8>(grid, [&](auto n, int64_t at, int64_t column, auto lanes,
                                           Vec* sums) {
    const Vec k = Load(shift + column, lanes);
    const auto row = [&](int r) {
      if constexpr (kFar) PrefetchAhead(x + at + r * grid.width);
      return Sub(Load(x + at + r * grid.width, lanes), k);
    };
    // Two by two: shorter chains, and half as many additions between a value and its total.
    if constexpr (n.kValue == 8) {
      const Vec d0 = row(0), d1 = row(1), d2 = row(2), d3 = row(3);
      const Vec d4 = row(4), d5 = row(5), d6 = row(6), d7 = row(7);
      sums[0] = Add(Add(Add(d0, d1), Add(d2, d3)), Add(Add(d4, d5), Add(d6, d7)));
      sums[1] = Add(Add(Fma(d0, d0, Mul(d1, d1)), Fma(d2, d2, Mul(d3, d3))),
                    Add(Fma(d4, d4, Mul(d5, d5)), Fma(d6, d6, Mul(d7, d7))));
    } else if constexpr (n.kValue == 4) {
      const Vec d0 = row(0), d1 = row(1), d2 = row(2), d3 = row(3);
      sums[0] = Add(Add(d0, d1), Add(d2, d3));
      sums[1] = Add(Fma(d0, d0, Mul(d1, d1)), Fma(d2, d2, Mul(d3, d3)));
    } else {
      sums[0] = row(0);
      sums[1] = Mul(sums[0], sums[0]);
    }
  });
}

// Mean and M2 from the totals; true when K was too far from some channel's mean.
bool Finish(int64_t rows, int64_t channels, const float* shift, const Totals<2>& totals,
            double* mean, double* m2) {
  const double count = static_cast<double>(rows);
  int far = 0;
  for (int64_t c = 0; c < channels; ++c) {
    const double sum = totals.total[0][c];
    // Divided, not multiplied by 1 / n: exact for sums that n divides.
    const double offset = sum / count, correction = sum * sum / count;
    const double squares = totals.total[1][c] - correction;
    mean[c] = static_cast<double>(shift[c]) + offset;
    m2[c] = squares < 0 ? 0 : squares;
    far |= correction > 3 * squares ? 1 : 0;
  }
  return far != 0;
}

}  // namespace

void Moments(const Segments& layout, const float* x, double* mean, double* m2, int64_t stride,
             void* memory) {
  const int64_t rows = layout.rows, channels = layout.channels;
  const bool from_memory = rows * channels * 4 >= kFarBytes;
  const Grid grid = MakeGrid(rows, channels);
  Scratch scratch(memory);
  float* shift = scratch.Floats(grid.width);
  Totals<2> totals(scratch, grid.width);

  for (int64_t s = 0; s < layout.segments; ++s) {
    const float* segment = x + s * rows * channels;
    double* segment_mean = mean + s * stride;
    double* segment_m2 = m2 + s * stride;
    if (rows <= (layout.features ? kFeatureRowsInDouble : kRowsInDouble)) {
      MomentsOfFewRows(rows, channels, segment, segment_mean, segment_m2);
      continue;
    }
    const auto pass = [&] {
      Repeat(grid, shift);
      if (from_memory) {
        SumShifted<true>(grid, segment, shift, totals);
      } else {
        SumShifted<false>(grid, segment, shift, totals);
      }
      return Finish(rows, channels, shift, totals, segment_mean, segment_m2);
    };
    GuessShift(grid, rows, segment, shift);
    if (pass()) {
      for (int64_t c = 0; c < channels; ++c) shift[c] = static_cast<float>(segment_mean[c]);
      pass();
    }
  }
}

void ColumnSums(const Segments& layout, const float* x, double* sums, void* memory) {
  const Grid grid = MakeGrid(layout.rows, layout.channels);
  Scratch scratch(memory);
  Totals<1> totals(scratch, grid.width);
  for (int64_t s = 0; s < layout.segments; ++s) {
    const float* segment = x + s * layout.rows * layout.channels;
    totals.Run(grid, layout.features,
               [&](auto n, int64_t at, int64_t column, auto lanes, Vec* partial) {
                 Vec sum = Load(segment + at, lanes);
                 if constexpr (n.kValue == 4) {
                   sum = Add(Add(sum, Load(segment + at + grid.width, lanes)),
                             Add(Load(segment + at + 2 * grid.width, lanes),
                                 Load(segment + at + 3 * grid.width, lanes)));
                 }
                 partial[0] = sum;
               });
    for (int64_t c = 0; c < layout.channels; ++c)
      sums[s * layout.channels + c] = totals.total[0][c];
  }
}

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
