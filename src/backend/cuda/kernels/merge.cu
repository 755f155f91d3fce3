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

// -- Trees ----------------------------------------------------------------------------------------------------
// A stack in registers: every place is known when it is compiled, what moves are the values.
template <typename Value>
struct RegisterStack {
  Value top[MergeTree::kMostDepth];
  SYNCBN_DEVICE void Push(const Value& value) {
    SYNCBN_UNROLL
    for (int i = MergeTree::kMostDepth - 1; i > 0; --i) top[i] = top[i - 1];
    top[0] = value;
  }
  // The top one is gone.
  SYNCBN_DEVICE void Drop() {
    SYNCBN_UNROLL
    for (int i = 0; i + 1 < MergeTree::kMostDepth; ++i) top[i] = top[i + 1];
  }
};

struct TreeArguments {
  explicit TreeArguments(const MergeTree& tree) : leaves(static_cast<int>(tree.leaves.size())) {
    std::ranges::copy(tree.leaves, at);
    std::ranges::copy(tree.merges, merges);
  }
  int leaves;
  uint8_t merges[MergeTree::kMostLeaves];
  const void* at[MergeTree::kMostLeaves];
};

// Reads every message once and writes one, 16 bytes at a time.
template <typename T>
struct SumTreeBody {
  TreeArguments tree;
  T* into;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    RegisterStack<Vector<T, N>> stack{};
    for (int leaf = 0; leaf < tree.leaves; ++leaf) {
      stack.Push(LoadVector<N>(static_cast<const T*>(tree.at[leaf]) + i));
      for (int merge = 0; merge < tree.merges[leaf]; ++merge) {
        Vector<T, N> sum = stack.top[1];
        SYNCBN_UNROLL
        for (int k = 0; k < N; ++k) {
          if constexpr (std::is_floating_point_v<T>) {
            sum[k] = QuietIfNan(sum[k] + stack.top[0][k]);
          } else {
            using Unsigned = std::make_unsigned_t<T>;
            sum[k] = static_cast<T>(static_cast<Unsigned>(sum[k]) + static_cast<Unsigned>(stack.top[0][k]));
          }
        }
        stack.Drop();
        stack.top[0] = sum;
      }
    }
    StoreVector(into + i, stack.top[0]);
  }
};

// A thread block for each block of moments; its threads go over channels. Launch shape: blocks of moments, 256
// threads. Moves what is merged once, read and written; counts come from a cache.
struct MomentsTreeKernel {
  static constexpr bool kCooperative = true;
  static constexpr int kMostThreads = kMergeThreads;
  static constexpr int kMostBlocks = 64;
  TreeArguments tree;
  double* into;
  int64_t at[kMostBlocks], channels[kMostBlocks];

  struct Moments {
    double count, mean, m2;
  };
  SYNCBN_DEVICE static Moments Merged(const Moments& a, const Moments& b) {
    Chain chain{a.count};
    const Chain::Step step = chain.Next(b.count);
    Moments merged = a;
    merged.count = chain.count;
    if (step == Chain::kMerge) {
      const double delta = b.mean - a.mean;
      merged.mean = QuietIfNan(a.mean + delta * chain.share);
      merged.m2 = QuietIfNan((a.m2 + b.m2) + (delta * delta) * chain.weight);
    } else if (step == Chain::kReplace) {
      merged.mean = QuietIfNan(b.mean);
      merged.m2 = QuietIfNan(b.m2);
    }
    return merged;
  }
  // Of a channel, or (negative) of the count alone.
  SYNCBN_DEVICE Moments Evaluate(int64_t begin, int64_t size, int64_t c) const {
    RegisterStack<Moments> stack{};
    for (int leaf = 0; leaf < tree.leaves; ++leaf) {
      const double* const block = static_cast<const double*>(tree.at[leaf]) + begin;
      Moments value{LoadCached(block), 0, 0};
      if (c >= 0) {
        value.mean = Load(block + 1 + c);
        value.m2 = Load(block + 1 + size + c);
      }
      stack.Push(value);
      for (int merge = 0; merge < tree.merges[leaf]; ++merge) {
        const Moments merged = Merged(stack.top[1], stack.top[0]);
        stack.Drop();
        stack.top[0] = merged;
      }
    }
    return stack.top[0];
  }

  SYNCBN_DEVICE void operator()() const {
    const int block = static_cast<int>(Block());
    const int64_t begin = at[block], size = channels[block];
    for (int64_t c = Thread(); c < size; c += Threads()) {
      const Moments result = Evaluate(begin, size, c);
      Store(into + begin + 1 + c, result.mean);
      Store(into + begin + 1 + size + c, result.m2);
    }
    // `into` may be a leaf, whose count the others have read by then.
    Barrier();
    if (Thread() == 0) Store(into + begin, Evaluate(begin, size, -1).count);
  }
};

}  // namespace

template <typename T>
void SumTree(cudaStream_t stream, const MergeTree& tree, T* into, int64_t elements) {
  bool aligned = Aligned16(into);
  for (const void* leaf : tree.leaves) aligned = aligned && Aligned16(static_cast<const T*>(leaf));
  const int64_t bytes = static_cast<int64_t>((tree.leaves.size() + 1) * sizeof(T));
  LaunchEach<16 / sizeof(T)>(stream, "merge: tree of sums", elements, bytes, aligned,
                             SumTreeBody<T>{TreeArguments(tree), into});
}
template void SumTree(cudaStream_t, const MergeTree&, float*, int64_t);
template void SumTree(cudaStream_t, const MergeTree&, double*, int64_t);
template void SumTree(cudaStream_t, const MergeTree&, int32_t*, int64_t);
template void SumTree(cudaStream_t, const MergeTree&, int64_t*, int64_t);

void MergeMomentsTree(cudaStream_t stream, std::span<const int64_t> channels, const MergeTree& tree, double* into) {
  using Kernel = MomentsTreeKernel;
  int64_t at = 0;
  for (size_t begin = 0; begin < channels.size(); begin += Kernel::kMostBlocks) {
    const auto blocks = std::min<size_t>(channels.size() - begin, Kernel::kMostBlocks);
    Kernel kernel{.tree = TreeArguments(tree), .into = into, .at = {}, .channels = {}};
    int64_t values = 0;
    for (size_t i = 0; i < blocks; ++i) {
      kernel.channels[i] = channels[begin + i];
      kernel.at[i] = at;
      at += MomentsElements(channels[begin + i]);
      values += 2 * channels[begin + i];
    }
    const auto leaves = static_cast<int64_t>(tree.leaves.size());
    Launch(stream,
           {.name = "merge: tree of moments",
            .blocks = static_cast<int64_t>(blocks),
            .threads = kMergeThreads,
            .bytes = (values * (leaves + 1) + static_cast<int64_t>(blocks)) * int64_t{sizeof(double)}},
           kernel);
  }
}

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
