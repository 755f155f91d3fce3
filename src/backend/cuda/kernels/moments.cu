// Mean and M2 of rows x channels without cancellation, in one pass over memory.
//
// All rows of a segment are taken relative to its first, K: d = x - K, which is exact in double unless the two are
// far more than 2^29 apart, and
//   mean = K + sum(d) / n,   M2 = sum(d^2) - sum(d)^2 / n.
// What is subtracted is n (mean - K)^2. K is one of the values, so M2 >= (mean - K)^2, and sum(d^2) <= (n + 1) M2
// whatever the values are: at worst, where the first row alone differs from all others, the error of the two sums is
// multiplied by n + 1. They are sums of at most some thousand terms one after the other and then of a tree, in double:
// off by 1e-13 at most, 1e-15 as a rule. A constant has d = 0 and so exactly its value and no M2; sums of small whole
// numbers are exact.
//
// BFloat16 is widened first, which is exact. Moves x once, and the moments; the first row comes from a cache. Where a segment takes several blocks, also their
// sums, at most 1024 x 2 x channels doubles, written and read. Layout: columns.h, column_sums.h.
#include "backend/cuda/kernels/moments.h"

#include "backend/cuda/kernels/column_sums.h"

namespace syncbn::backend::cuda::kernels {
namespace {

template <typename T>
struct MomentsBody {
  static constexpr int kSums = 2, kColumns = kInVector<T>;
  struct Channel {
    double shift;
  };
  struct Inputs {
    Columns<T> x;
  };
  const T* x;
  int64_t rows, channels;
  double* moments;

  SYNCBN_DEVICE Channel ChannelOf(int64_t segment, int64_t channel) const {
    return {rows == 0 ? 0.0 : static_cast<double>(LoadFloatCached(x + segment * rows * channels + channel))};
  }
  template <bool kVector>
  SYNCBN_DEVICE Inputs Fetch(int64_t i, int columns) const {
    return {LoadColumns<kVector>(x + i, columns)};
  }
  SYNCBN_DEVICE void Add(const Channel& channel, const Inputs& inputs, int k, double* sums) const {
    const double d = static_cast<double>(ToFloat(inputs.x[k])) - channel.shift;
    sums[0] += d;
    sums[1] = fma(d, d, sums[1]);
  }
  SYNCBN_DEVICE void Finish(int64_t segment, int64_t channel, const double* sums) const {
    const double count = static_cast<double>(rows);
    // Divided, not multiplied by 1 / n: exact for sums that n divides.
    const double squares = sums[1] - sums[0] * sums[0] / count;
    double* const block = moments + segment * (1 + 2 * channels);
    Store(block + 1 + channel, ChannelOf(segment, channel).shift + sums[0] / count);
    Store(block + 1 + channels + channel, squares < 0 ? 0.0 : squares);  // NaN stays NaN
    if (channel == 0) Store(block, count);
  }
};

}  // namespace

template <typename T>
int64_t MomentsScratch(int64_t segments, int64_t rows, int64_t channels) {
  using Body = MomentsBody<T>;
  return ColumnSumScratch(MakeSumGrid(Body::kColumns, segments, rows, channels), Body::kSums);
}

template <typename T>
void Moments(cudaStream_t stream, const T* x, int64_t segments, int64_t rows, int64_t channels, double* moments,
             double* scratch) {
  const int64_t result_bytes = segments * (1 + 2 * channels) * int64_t{sizeof(double)};
  LaunchColumnSums<4>(stream, "moments", MakeSumGrid(MomentsBody<T>::kColumns, segments, rows, channels), sizeof(T),
                      result_bytes, Aligned16(x), scratch, MomentsBody<T>{x, rows, channels, moments});
}

template int64_t MomentsScratch<float>(int64_t, int64_t, int64_t);
template int64_t MomentsScratch<BFloat16>(int64_t, int64_t, int64_t);
template void Moments(cudaStream_t, const float*, int64_t, int64_t, int64_t, double*, double*);
template void Moments(cudaStream_t, const BFloat16*, int64_t, int64_t, int64_t, double*, double*);

}  // namespace syncbn::backend::cuda::kernels
