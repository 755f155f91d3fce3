#include "backend/cuda/kernels/statistics.h"

#include <algorithm>

#include "backend/cuda/kernels/column_sums.h"

namespace syncbn::backend::cuda::kernels {
namespace {

constexpr int64_t kDouble = sizeof(double);

template <typename Body>
void LaunchEachOne(cudaStream_t stream, const char* name, int64_t elements, int64_t bytes, const Body& body) {
  LaunchEach<1>(stream, name, elements, bytes, true, body);
}

// Consecutive groups of rows, as the arguments of a launch hold them.
struct RowGroups {
  static constexpr int kMost = 256;
  int groups = 0;
  int64_t first[kMost + 1] = {};  // the rows of group i: from first[i] to first[i + 1]

  SYNCBN_DEVICE int GroupOf(int64_t row) const {
    int low = 0, high = groups;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (first[middle] <= row) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return low;
  }
};

// Calls launch(groups, first group, first row) for groups of `sizes` rows, as many at a time as fit.
template <typename Launch>
void ForRowGroups(std::span<const int64_t> sizes, const Launch& launch) {
  int64_t row = 0;
  for (size_t done = 0; done < sizes.size(); done += RowGroups::kMost) {
    RowGroups groups;
    groups.groups = static_cast<int>(std::min<size_t>(sizes.size() - done, RowGroups::kMost));
    for (int i = 0; i < groups.groups; ++i) groups.first[i + 1] = groups.first[i] + sizes[done + static_cast<size_t>(i)];
    launch(groups, static_cast<int64_t>(done), row);
    row += groups.first[groups.groups];
  }
}

// The sums of values(0) to values(size - 1) in every lane of a warp, in the host's order (SumInLanes there): eight sums
// of every eighth value, one after the other, then these two by two.
template <int kSums, typename Values>
SYNCBN_DEVICE void SumInLanes(int64_t size, const Values& values, double (&sums)[kSums]) {
  constexpr int kLanes = 8;
  SYNCBN_UNROLL
  for (int s = 0; s < kSums; ++s) sums[s] = 0;
  for (int64_t begin = 0; begin < size; begin += kWarp) {
    double mine[kSums] = {};
    if (begin + Lane() < size) values(begin + Lane(), mine);
    for (int from = Lane() % kLanes; from < kWarp; from += kLanes) {
      SYNCBN_UNROLL
      for (int s = 0; s < kSums; ++s) {
        const double value = ShuffleFrom(mine[s], from);
        if (begin + from < size) sums[s] += value;
      }
    }
  }
  SYNCBN_UNROLL
  for (int s = 0; s < kSums; ++s) {
    for (int apart = 1; apart < kLanes; apart *= 2) sums[s] += ShuffleXor(sums[s], apart);
  }
}

// -- Moments of groups of channels ------------------------------------------------------------------------------
constexpr int kGroupThreads = 256;

int64_t WarpBlocks(int64_t warps) { return CeilDiv(warps, kGroupThreads / kWarp); }

// A warp for each group of a block of moments. The channels hold equally many elements, so Chan's formula for all of
// them at once is a mean of means and a sum of squares. Moves means and m2, read (the means from a cache the second
// time) and written.
struct MergeChannelsKernel {
  static constexpr bool kCooperative = true;
  static constexpr int kMostThreads = kGroupThreads;
  int64_t blocks, channels, groups;
  double* moments;

  SYNCBN_DEVICE void operator()() const {
    const int64_t warp = GlobalThread() / kWarp;
    if (warp >= blocks * groups) return;
    const int64_t size = channels / groups;
    double* const block = moments + warp / groups * (1 + 2 * channels);
    double* const mean = block + 1 + warp % groups * size;
    double* const m2 = mean + channels;
    const double elements = LoadCached(static_cast<const double*>(block));
    double sum[1], squares[2];
    SumInLanes(size, [&](int64_t c, double* value) { value[0] = Load(static_cast<const double*>(mean + c)); }, sum);
    const double center = sum[0] / static_cast<double>(size);
    SumInLanes(
        size,
        [&](int64_t c, double* values) {
          const double apart = LoadCached(static_cast<const double*>(mean + c)) - center;
          values[0] = Load(static_cast<const double*>(m2 + c));
          values[1] = apart * apart;
        },
        squares);
    const double all = squares[0] + elements * squares[1];
    for (int64_t c = Lane(); c < size; c += kWarp) {
      Store(mean + c, center);
      Store(m2 + c, all);
    }
  }
};
// Afterwards: the counts that all groups of a block have read.
struct ScaleCountsBody {
  double* moments;
  int64_t row;
  double factor;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    Store(moments + i * row, Load(static_cast<const double*>(moments + i * row)) * factor);
  }
};

// -- Statistics --------------------------------------------------------------------------------------------------
SYNCBN_DEVICE double InverseRoot(double variance, double epsilon) { return 1 / sqrt(variance + epsilon); }

// A thread for each segment and channel. Where segments share a block it comes from a cache.
template <bool kRepeated>
struct FinishMomentsBody {
  const double* moments;
  int64_t channels;
  double epsilon;
  double* mean;
  double* inv_std;
  double* counts;
  RowGroups repeats;

  SYNCBN_DEVICE double Read(const double* from) const { return kRepeated ? LoadCached(from) : Load(from); }
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const int64_t segment = i / channels, channel = i % channels;
    const int64_t of = kRepeated ? repeats.GroupOf(segment) : segment;
    const double* const block = moments + of * (1 + 2 * channels);
    const double count = LoadCached(block), m2 = Read(block + 1 + channels + channel);
    Store(mean + i, Read(block + 1 + channel));
    Store(inv_std + i, InverseRoot(count > 0 ? m2 / count : 0.0, epsilon));
    if (channel == 0) Store(counts + segment, count);
  }
};

struct InverseStdBody {
  const double* variance;
  double epsilon;
  double* inv_std;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    Store(inv_std + i, InverseRoot(Load(variance + i), epsilon));
  }
};

// -- Gradients ---------------------------------------------------------------------------------------------------
// The segments are the rows of one segment of a ColumnGrid. Reads the sums once, one double of two of them.
struct AffineGradientsBody {
  static constexpr int kSums = 2, kColumns = 4;
  struct Channel {};
  struct Inputs {
    double values[kSums][kColumns];
  };
  AffineGradient of[kSums];

  SYNCBN_DEVICE Channel ChannelOf(int64_t, int64_t) const { return {}; }
  template <bool kVector>
  SYNCBN_DEVICE Inputs Fetch(int64_t i, int columns) const {
    Inputs inputs;
    SYNCBN_UNROLL
    for (int s = 0; s < kSums; ++s) {
      SYNCBN_UNROLL
      for (int k = 0; k < kColumns; ++k) {
        inputs.values[s][k] = of[s].out != nullptr && k < columns ? Load(of[s].sums + i + k) : 0.0;
      }
    }
    return inputs;
  }
  SYNCBN_DEVICE void Add(const Channel&, const Inputs& inputs, int k, double* sums) const {
    SYNCBN_UNROLL
    for (int s = 0; s < kSums; ++s) sums[s] += inputs.values[s][k];
  }
  SYNCBN_DEVICE void Finish(int64_t, int64_t channel, const double* sums) const {
    SYNCBN_UNROLL
    for (int s = 0; s < kSums; ++s) {
      if (of[s].out == nullptr) continue;
      float* const to = of[s].out + channel;
      const double before = of[s].accumulate ? static_cast<double>(Load(static_cast<const float*>(to))) + sums[s] : sums[s];
      Store(to, static_cast<float>(before));
    }
  }
};

SYNCBN_DEVICE double ScaleOf(const float* gamma, int64_t channel) {
  return gamma == nullptr ? 1.0 : static_cast<double>(LoadCached(gamma + channel));
}

// Divided, not multiplied by 1 / n: the mean of equal elements is that element.
SYNCBN_DEVICE double ScaledMean(const InputTermsArgs& args, double sum, int64_t segment, int64_t channel) {
  const double count = LoadCached(args.counts + segment);
  return ScaleOf(args.gamma, channel) * (sum / (1.0 < count ? count : 1.0));
}

struct BatchInputTermsBody {
  InputTermsArgs args;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const int64_t segment = i / args.channels, channel = i % args.channels;
    Store(args.mean_dy + i, ScaledMean(args, Load(args.sum_dy + i), segment, channel));
    Store(args.mean_dy_xhat + i, ScaledMean(args, Load(args.sum_dy_xhat + i), segment, channel));
  }
};
// A thread for each channel of segments that share statistics; args begin at the first of these.
struct SharedInputTermsBody {
  InputTermsArgs args;
  RowGroups sharing;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const int64_t group = i / args.channels, channel = i % args.channels;
    const int64_t begin = sharing.first[group], end = sharing.first[group + 1];
    double sum_dy = 0, sum_dy_xhat = 0;
    for (int64_t s = begin; s < end; ++s) {
      sum_dy += Load(args.sum_dy + s * args.channels + channel);
      sum_dy_xhat += Load(args.sum_dy_xhat + s * args.channels + channel);
    }
    for (int64_t s = begin; s < end; ++s) {
      Store(args.mean_dy + s * args.channels + channel, ScaledMean(args, sum_dy, s, channel));
      Store(args.mean_dy_xhat + s * args.channels + channel, ScaledMean(args, sum_dy_xhat, s, channel));
    }
  }
};

// A warp for each segment and group of channels. Moves the sums once, read and written.
struct GroupInputTermsKernel {
  static constexpr bool kCooperative = true;
  static constexpr int kMostThreads = kGroupThreads;
  InputTermsArgs args;
  int64_t groups;

  SYNCBN_DEVICE void operator()() const {
    const int64_t warp = GlobalThread() / kWarp;
    if (warp >= args.segments * groups) return;
    const int64_t segment = warp / groups, size = args.channels / groups, first_channel = warp % groups * size;
    const int64_t first = segment * args.channels + first_channel;
    double sums[2];
    SumInLanes(
        size,
        [&](int64_t c, double* values) {
          const double scale = ScaleOf(args.gamma, first_channel + c);
          values[0] = scale * Load(args.sum_dy + first + c);
          values[1] = scale * Load(args.sum_dy_xhat + first + c);
        },
        sums);
    const double count = LoadCached(args.counts + segment);
    for (int64_t c = Lane(); c < size; c += kWarp) {
      Store(args.mean_dy + first + c, sums[0] / count);
      Store(args.mean_dy_xhat + first + c, sums[1] / count);
    }
  }
};

// -- Batch renormalization ---------------------------------------------------------------------------------------
SYNCBN_DEVICE double Clamp(double value, double low, double high) {
  return value < low ? low : high < value ? high : value;
}

// With r = running inv_std / inv_std and d = (mean - running mean) running inv_std, clipped,
// r (x - mean) inv_std + d = (x - (mean - d / (r inv_std))) (r inv_std).
struct RenormalizeBody {
  RenormArgs args;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const int64_t c = i % args.channels;
    const double there = LoadCached(args.running_inv_std + c);
    double inv_std = Load(static_cast<const double*>(args.inv_std + i));
    const double mean = Load(static_cast<const double*>(args.mean + i));
    const double r = Clamp(there / inv_std, args.r_min, args.r_max);
    const double d = Clamp((mean - LoadCached(args.running_mean + c)) * there, -args.d_max, args.d_max);
    inv_std *= r;
    Store(args.r + i, r);
    Store(args.d + i, d);
    Store(args.inv_std + i, inv_std);
    Store(args.mean + i, mean - d / inv_std);
  }
};

// With the norm's output z = r xhat + d and g = gamma dy, the gradient r inv_std (g - mean(g) - xhat mean(g xhat)) is
// (r inv_std) (g - a - z b) for b = mean(g xhat) / r and a = mean(g) - d b, where mean(g xhat) is (mean(g z) - d
// mean(g)) / r.
struct RenormInputTermsBody {
  const double* r;
  const double* d;
  double* mean_dy;
  double* mean_dy_xhat;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const double scale = Load(r + i), shift = Load(d + i);
    const double a = Load(static_cast<const double*>(mean_dy + i));
    const double slope = (Load(static_cast<const double*>(mean_dy_xhat + i)) - shift * a) / scale / scale;
    Store(mean_dy_xhat + i, slope);
    Store(mean_dy + i, a - shift * slope);
  }
};

}  // namespace

void MergeChannels(cudaStream_t stream, int64_t blocks, int64_t channels, int64_t groups, double* moments) {
  if (blocks == 0 || channels == 0) return;
  Launch(stream,
         {.name = "merge channels",
          .blocks = WarpBlocks(blocks * groups),
          .threads = kGroupThreads,
          .bytes = 4 * blocks * channels * kDouble},
         MergeChannelsKernel{blocks, channels, groups, moments});
  LaunchEachOne(stream, "merge channels: counts", blocks, 2 * kDouble,
                ScaleCountsBody{moments, 1 + 2 * channels, static_cast<double>(channels / groups)});
}

void FinishMoments(cudaStream_t stream, const double* moments, int64_t blocks, int64_t channels,
                   std::span<const int64_t> repeats, double epsilon, double* mean, double* inv_std, double* counts) {
  if (channels == 0) return;
  constexpr const char* kName = "finish moments";
  if (repeats.empty()) {
    return LaunchEachOne(stream, kName, blocks * channels, 4 * kDouble + kDouble / channels,
                         FinishMomentsBody<false>{moments, channels, epsilon, mean, inv_std, counts, {}});
  }
  ForRowGroups(repeats, [&](const RowGroups& groups, int64_t block, int64_t segment) {
    LaunchEachOne(stream, kName, groups.first[groups.groups] * channels, 2 * kDouble + kDouble / channels,
                  FinishMomentsBody<true>{moments + block * (1 + 2 * channels), channels, epsilon,
                                          mean + segment * channels, inv_std + segment * channels, counts + segment,
                                          groups});
  });
}

void InverseStd(cudaStream_t stream, const double* variance, int64_t elements, double epsilon, double* inv_std) {
  LaunchEachOne(stream, "inverse std", elements, 2 * kDouble, InverseStdBody{variance, epsilon, inv_std});
}

int64_t AffineGradientsScratch(int64_t segments, int64_t channels) {
  return ColumnSumScratch(MakeSumGrid(AffineGradientsBody::kColumns, 1, segments, channels), AffineGradientsBody::kSums);
}
void AffineGradients(cudaStream_t stream, int64_t segments, int64_t channels, const AffineGradient& gamma,
                     const AffineGradient& beta, double* scratch) {
  int64_t sums = 0, result_bytes = 0;
  for (const AffineGradient* of : {&gamma, &beta}) {
    if (of->out == nullptr) continue;
    ++sums;
    result_bytes += channels * (of->accumulate ? 2 : 1) * int64_t{sizeof(float)};
  }
  if (sums == 0) return;
  LaunchColumnSums<2>(stream, "affine gradients", MakeSumGrid(AffineGradientsBody::kColumns, 1, segments, channels), sums * kDouble, result_bytes,
                      false, scratch, AffineGradientsBody{{gamma, beta}});
}

void BatchInputTerms(cudaStream_t stream, const InputTermsArgs& args, std::span<const int64_t> sizes) {
  if (args.channels == 0) return;
  constexpr const char* kName = "batch input terms";
  if (sizes.empty()) {
    return LaunchEachOne(stream, kName, args.segments * args.channels, 4 * kDouble, BatchInputTermsBody{args});
  }
  ForRowGroups(sizes, [&](const RowGroups& groups, int64_t, int64_t segment) {
    InputTermsArgs part = args;
    part.segments = groups.first[groups.groups];
    part.sum_dy += segment * args.channels;
    part.sum_dy_xhat += segment * args.channels;
    part.counts += segment;
    part.mean_dy += segment * args.channels;
    part.mean_dy_xhat += segment * args.channels;
    LaunchEach<1>(stream, kName, groups.groups * args.channels, CeilDiv(4 * kDouble * part.segments, groups.groups),
                  true, SharedInputTermsBody{part, groups});
  });
}

void GroupInputTerms(cudaStream_t stream, const InputTermsArgs& args, int64_t groups) {
  if (args.segments == 0 || args.channels == 0) return;
  Launch(stream,
         {.name = "group input terms",
          .blocks = WarpBlocks(args.segments * groups),
          .threads = kGroupThreads,
          .bytes = 4 * args.segments * args.channels * kDouble},
         GroupInputTermsKernel{args, groups});
}

void Renormalize(cudaStream_t stream, const RenormArgs& args) {
  LaunchEachOne(stream, "renormalize", args.segments * args.channels, 6 * kDouble, RenormalizeBody{args});
}

void RenormInputTerms(cudaStream_t stream, const double* r, const double* d, int64_t elements, double* mean_dy,
                      double* mean_dy_xhat) {
  LaunchEachOne(stream, "renormalize: input terms", elements, 6 * kDouble,
                RenormInputTermsBody{r, d, mean_dy, mean_dy_xhat});
}

}  // namespace syncbn::backend::cuda::kernels
