#include "backend/cuda/kernels/merge.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "backend/cuda/kernels/each.h"
#include "backend/merge.h"

namespace syncbn::backend::cuda::kernels {
namespace {

template <typename T>
constexpr T kQuietNan = std::numeric_limits<T>::quiet_NaN();
template <typename T>
SYNCBN_DEVICE T QuietIfNan(T value) {
  return value == value ? value : kQuietNan<T>;
}

// -- Sums -----------------------------------------------------------------------------------------------------
// Reads two messages and writes one, 16 bytes at a time.
template <typename T>
struct AddIntoBody {
  T* into;
  const T* from;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    Vector<T, N> sum = LoadVector<N>(static_cast<const T*>(into + i));
    const Vector<T, N> other = LoadVector<N>(from + i);
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) {
      if constexpr (std::is_floating_point_v<T>) {
        sum[k] = QuietIfNan(sum[k] + other[k]);
      } else {
        using Unsigned = std::make_unsigned_t<T>;
        sum[k] = static_cast<T>(static_cast<Unsigned>(sum[k]) + static_cast<Unsigned>(other[k]));
      }
    }
    StoreVector(into + i, sum);
  }
};

template <typename T>
void LaunchAddInto(cudaStream_t stream, T* into, const T* from, int64_t elements) {
  LaunchEach<16 / sizeof(T)>(stream, "merge: sum", elements, 3 * sizeof(T), Aligned16(into, from),
                             AddIntoBody<T>{into, from});
}

// -- Moments --------------------------------------------------------------------------------------------------
constexpr int kMergeThreads = 256;

// The counts of a chain of blocks, one at a time (Chan, Golub, LeVeque 1983):
//   n = na + nb, d = mean_b - mean_a, mean = mean_a + d nb / n, m2 = m2_a + m2_b + d d na nb / n.
struct Chain {
  double count;
  double share = 0, weight = 0;
  enum Step { kNothing, kReplace, kMerge };

  SYNCBN_DEVICE Step Next(double other) {
    if (other == 0) return kNothing;
    if (count == 0) {
      count = QuietIfNan(other);
      return kReplace;
    }
    const double total = count + other;
    share = other / total;
    weight = count * share;
    count = QuietIfNan(total);
    return kMerge;
  }
};

// A thread block merges a block of moments of one row of `into`; its threads go over channels (or pairs of channels),
// each with the whole chain of counts. Launch shape: blocks of moments x rows of `into`, 256 threads. Moves what is
// merged once, read and written; counts, and means where pairs need them, come from a cache.
struct MergeBlocksKernel {
  static constexpr bool kCooperative = true;
  static constexpr int kMostThreads = kMergeThreads;
  static constexpr int kMostBlocks = 64, kMostRows = 64;
  const double* from;
  double* into;
  int64_t row;
  int blocks, rows;
  int64_t at[kMostBlocks], channels[kMostBlocks];
  int64_t first[kMostRows + 1];  // rows of `from` that the i-th row of `into` receives: from first[i] to first[i + 1]

  SYNCBN_DEVICE void operator()() const {
    const int block = static_cast<int>(Block() % blocks), target = static_cast<int>(Block() / blocks);
    const double* const source = from + first[target] * row + at[block];
    double* const mine = into + target * row + at[block];
    const int64_t steps = first[target + 1] - first[target];
    const double count = LoadCached(static_cast<const double*>(mine));
    if (channels[block] >= 0) {
      Barrier();
      MergeMoments(channels[block], source, steps, mine, count);
    } else {
      MergeProducts(-channels[block], source, steps, mine, count);
      Barrier();
      MergeMeans(-channels[block], source, steps, mine, count);
    }
    if (Thread() != 0) return;
    Chain chain{count};
    for (int64_t i = 0; i < steps; ++i) chain.Next(LoadCached(source + i * row));
    Store(mine, chain.count);
  }

  SYNCBN_DEVICE void MergeMoments(int64_t size, const double* source, int64_t steps, double* mine,
                                  double count) const {
    for (int64_t c = Thread(); c < size; c += Threads()) {
      double* const mean_at = mine + 1 + c;
      double mean = Load(static_cast<const double*>(mean_at)), m2 = Load(static_cast<const double*>(mean_at + size));
      Chain chain{count};
      for (int64_t i = 0; i < steps; ++i) {
        const double* const other = source + i * row;
        const double other_mean = Load(other + 1 + c), other_m2 = Load(other + 1 + size + c);
        const Chain::Step step = chain.Next(LoadCached(other));
        if (step == Chain::kMerge) {
          const double delta = other_mean - mean;
          mean = QuietIfNan(mean + delta * chain.share);
          m2 = QuietIfNan((m2 + other_m2) + (delta * delta) * chain.weight);
        } else if (step == Chain::kReplace) {
          mean = QuietIfNan(other_mean);
          m2 = QuietIfNan(other_m2);
        }
      }
      Store(mean_at, mean);
      Store(mean_at + size, m2);
    }
  }

  // c_ij = c_ij_a + c_ij_b + d_i d_j na nb / n for i <= j, row by row; the means stay.
  SYNCBN_DEVICE void MergeProducts(int64_t size, const double* source, int64_t steps, double* mine,
                                   double count) const {
    const int64_t warps = Threads() / kWarp;
    for (int64_t i = Warp(); i < size; i += warps) {
      const int64_t begin = 1 + size + i * size - i * (i - 1) / 2;  // where row i begins, with j = i
      for (int64_t j = i + Lane(); j < size; j += kWarp) {
        double* const product_at = mine + begin + (j - i);
        double product = Load(static_cast<const double*>(product_at));
        double mean_i = LoadCached(static_cast<const double*>(mine + 1 + i));
        double mean_j = LoadCached(static_cast<const double*>(mine + 1 + j));
        Chain chain{count};
        for (int64_t k = 0; k < steps; ++k) {
          const double* const other = source + k * row;
          const double other_product = Load(other + begin + (j - i));
          const double other_i = LoadCached(other + 1 + i), other_j = LoadCached(other + 1 + j);
          const Chain::Step step = chain.Next(LoadCached(other));
          if (step == Chain::kMerge) {
            product = QuietIfNan((product + other_product) + ((other_i - mean_i) * (other_j - mean_j)) * chain.weight);
            mean_i = QuietIfNan(mean_i + (other_i - mean_i) * chain.share);
            mean_j = QuietIfNan(mean_j + (other_j - mean_j) * chain.share);
          } else if (step == Chain::kReplace) {
            product = QuietIfNan(other_product);
            mean_i = QuietIfNan(other_i);
            mean_j = QuietIfNan(other_j);
          }
        }
        Store(product_at, product);
      }
    }
  }
  SYNCBN_DEVICE void MergeMeans(int64_t size, const double* source, int64_t steps, double* mine, double count) const {
    for (int64_t c = Thread(); c < size; c += Threads()) {
      double mean = Load(static_cast<const double*>(mine + 1 + c));
      Chain chain{count};
      for (int64_t i = 0; i < steps; ++i) {
        const double other = Load(source + i * row + 1 + c);
        const Chain::Step step = chain.Next(LoadCached(source + i * row));
        if (step == Chain::kMerge) mean = QuietIfNan(mean + (other - mean) * chain.share);
        if (step == Chain::kReplace) mean = QuietIfNan(other);
      }
      Store(mine + 1 + c, mean);
    }
  }
};

}  // namespace

void AddInto(cudaStream_t stream, float* into, const float* from, int64_t elements) {
  LaunchAddInto(stream, into, from, elements);
}
void AddInto(cudaStream_t stream, double* into, const double* from, int64_t elements) {
  LaunchAddInto(stream, into, from, elements);
}
void AddInto(cudaStream_t stream, int32_t* into, const int32_t* from, int64_t elements) {
  LaunchAddInto(stream, into, from, elements);
}
void AddInto(cudaStream_t stream, int64_t* into, const int64_t* from, int64_t elements) {
  LaunchAddInto(stream, into, from, elements);
}

void MergeBlocks(cudaStream_t stream, std::span<const int64_t> channels, int64_t row, std::span<const int64_t> counts,
                 const double* from, double* into) {
  using Kernel = MergeBlocksKernel;
  // What does not fit into the arguments of one launch is given to several.
  for (size_t done = 0; done < counts.size(); done += Kernel::kMostRows) {
    Kernel kernel{};
    kernel.from = from;
    kernel.into = into;
    kernel.row = row;
    kernel.rows = static_cast<int>(std::min<size_t>(counts.size() - done, Kernel::kMostRows));
    for (int i = 0; i < kernel.rows; ++i) {
      kernel.first[i + 1] = kernel.first[i] + counts[done + static_cast<size_t>(i)];
    }
    const int64_t sources = kernel.first[kernel.rows];
    int64_t at = 0;
    for (size_t begin = 0; begin < channels.size(); begin += Kernel::kMostBlocks) {
      kernel.blocks = static_cast<int>(std::min<size_t>(channels.size() - begin, Kernel::kMostBlocks));
      const int64_t from_here = at;
      for (int i = 0; i < kernel.blocks; ++i) {
        kernel.channels[i] = channels[begin + static_cast<size_t>(i)];
        kernel.at[i] = at;
        at += MomentsElements(kernel.channels[i]);
      }
      const int64_t values = at - from_here - kernel.blocks, counts_written = kernel.blocks * kernel.rows;
      Launch(stream,
             {.name = "merge: moments",
              .blocks = int64_t{kernel.blocks} * kernel.rows,
              .threads = kMergeThreads,
              .bytes = (values * (2 * kernel.rows + sources) + counts_written) * int64_t{sizeof(double)}},
             kernel);
    }
    from += sources * row;
    into += kernel.rows * row;
  }
}

}  // namespace syncbn::backend::cuda::kernels
