// Moments, and what a normalization makes of them.
#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/host/host_executor.h"
#include "backend/merge.h"

namespace syncbn::backend::host {
namespace {

using Accum = double;

// Scales of channels, of any floating type; 1 where there are none.
class Scales {
 public:
  explicit Scales(const Tensor& gamma) {
    if (!gamma.defined()) return;
    if (gamma.dtype() == DType::kFloat64) {
      wide_ = gamma.Data<double>();
    } else {
      narrow_ = gamma.Data<float>();
    }
  }
  double operator[](int64_t channel) const {
    return wide_ != nullptr ? wide_[channel] : narrow_ != nullptr ? narrow_[channel] : 1;
  }

 private:
  const double* wide_ = nullptr;
  const float* narrow_ = nullptr;
};

template <typename T>
void StoreColumnSums(const Tensor& terms, GradientOut& out) {
  const std::span<T> dst = out.tensor.Span<T>();
  const std::span<const Accum> src = terms.Span<Accum>();
  const size_t channels = dst.size();
  std::vector<Accum> sums(channels, 0);
  for (size_t row = 0; row < src.size(); row += channels) {
    for (size_t c = 0; c < channels; ++c) sums[c] += src[row + c];
  }
  for (size_t c = 0; c < channels; ++c) {
    dst[c] = static_cast<T>(out.accumulate ? static_cast<Accum>(dst[c]) + sums[c] : sums[c]);
  }
}

// out (+)= the sum of `terms` over its first axis, [segments, C] -> [C].
void StoreColumnSums(const Tensor& terms, GradientOut out) {
  if (!out.tensor.defined()) return;
  SYNCBN_CHECK_EQ(terms.shape().channels(), out.tensor.elements())
      << "gradient of a scale or shift";
  if (out.tensor.dtype() == DType::kFloat64) {
    StoreColumnSums<double>(terms, out);
  } else {
    StoreColumnSums<float>(terms, out);
  }
}

// The sum of term(0) to term(n - 1), always in the same order: in lanes, so that an addition need
// not wait for the one before it.
template <typename Term>
double SumInLanes(int64_t n, Term term) {
  constexpr int64_t kLanes = 8;
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t k = 0; k < kLanes; ++k) lanes[k] += term(i + k);
  }
  for (int64_t k = 0; i + k < n; ++k) lanes[k] += term(i + k);
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
         ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

// Replaces mean and m2 of the channels of a group by those of the whole group. The channels hold
// equally many elements, so Chan's formula for all of them at once is a mean of means and a sum of
// squares.
void MergeGroup(int64_t size, double elements, double* mean, double* m2) {
  const double center =
      SumInLanes(size, [&](int64_t c) { return mean[c]; }) / static_cast<double>(size);
  const double within = SumInLanes(size, [&](int64_t c) { return m2[c]; });
  const double between =
      SumInLanes(size, [&](int64_t c) { return (mean[c] - center) * (mean[c] - center); });
  std::fill_n(mean, size, center);
  std::fill_n(m2, size, within + elements * between);
}

// Channels of a block of moments.
int64_t ChannelsOf(const Tensor& moments) {
  return (moments.shape().channels() - 1) / 2;
}

}  // namespace

void HostExecutor::MergeMoments(std::span<const int64_t> channels, std::span<const int64_t> sizes,
                                const Tensor& from, Tensor& into) {
  MergeContent content{.operation = MergeOperation::kMergeMoments,
                       .dtype = DType::kFloat64,
                       .elements = into.shape().channels(),
                       .channels = channels};
  CheckContent(content);
  const int64_t row = content.elements;
  if (row == 0) return;
  const double* src = from.Data<double>();
  double* dst = into.Data<double>();
  const int64_t all = from.elements() / row;
  const std::span<const int64_t> counts = sizes.empty() ? std::span(&all, 1) : sizes;
  SYNCBN_CHECK_EQ(static_cast<int64_t>(counts.size()) * row, into.elements()) << "merged moments";
  for (const int64_t count : counts) {
    for (int64_t i = 0; i < count; ++i, src += row) MergeRange(content, {0, row}, dst, src);
    dst += row;
  }
  SYNCBN_CHECK(src == from.Data<double>() + from.elements()) << "moments to be merged";
}

void HostExecutor::MergeChannels(int64_t groups, Tensor& moments) {
  const int64_t channels = ChannelsOf(moments), row = MomentsElements(channels);
  SYNCBN_CHECK_EQ(channels % groups, 0) << "groups of channels";
  const int64_t size = channels / groups;
  double* block = moments.Data<double>();
  for (int64_t i = 0; i < moments.shape()[0]; ++i, block += row) {
    for (int64_t begin = 1; begin < 1 + channels; begin += size) {
      MergeGroup(size, block[0], block + begin, block + channels + begin);
    }
    block[0] *= static_cast<double>(size);
  }
}

Statistics HostExecutor::FinishMoments(const Tensor& moments, std::span<const int64_t> repeats,
                                       double epsilon) {
  const int64_t channels = ChannelsOf(moments), row = MomentsElements(channels);
  const int64_t blocks = moments.shape()[0];
  int64_t segments = blocks;
  if (!repeats.empty()) {
    SYNCBN_CHECK_EQ(static_cast<int64_t>(repeats.size()), blocks) << "repeated moments";
    segments = 0;
    for (const int64_t times : repeats) segments += times;
  }
  Statistics result{.mean = New({segments, channels}, DType::kFloat64),
                    .inv_std = New({segments, channels}, DType::kFloat64),
                    .counts = New({segments}, DType::kFloat64)};
  double* mean = result.mean.Data<double>();
  double* inv_std = result.inv_std.Data<double>();
  double* count = result.counts.Data<double>();
  const double* block = moments.Data<double>();
  for (int64_t i = 0; i < blocks; ++i, block += row) {
    const int64_t times = repeats.empty() ? 1 : repeats[static_cast<size_t>(i)];
    if (times == 0) continue;
    const double n = block[0];
    const double* m2 = block + 1 + channels;
    std::copy_n(block + 1, channels, mean);
    for (int64_t c = 0; c < channels; ++c) {
      // The channels of a group are alike (MergeChannels), and a root and a division take long.
      inv_std[c] = c > 0 && m2[c] == m2[c - 1] ? inv_std[c - 1]
                                               : 1 / std::sqrt((n > 0 ? m2[c] / n : 0) + epsilon);
    }
    for (int64_t k = 1; k < times; ++k) {
      std::copy_n(mean, channels, mean + k * channels);
      std::copy_n(inv_std, channels, inv_std + k * channels);
    }
    std::fill_n(count, times, n);
    mean += times * channels;
    inv_std += times * channels;
    count += times;
  }
  return result;
}

Tensor HostExecutor::InverseStd(const Tensor& variance, double epsilon) {
  Tensor result = New(variance.shape(), DType::kFloat64);
  std::ranges::transform(variance.Span<double>(), result.Data<double>(),
                         [&](double value) { return 1 / std::sqrt(value + epsilon); });
  return result;
}

void HostExecutor::AffineGradients(const Tensor& sum_dy, const Tensor& sum_dy_xhat,
                                   GradientOut dgamma, GradientOut dbeta) {
  StoreColumnSums(sum_dy, std::move(dbeta));
  StoreColumnSums(sum_dy_xhat, std::move(dgamma));
}

InputTerms HostExecutor::BatchInputTerms(const Tensor& sum_dy, const Tensor& sum_dy_xhat,
                                         const Tensor& counts, const Tensor& gamma,
                                         std::span<const int64_t> sizes) {
  // The statistics may be shared with other replicas: as many sums as segments, in any shape.
  const int64_t segments = counts.elements();
  const int64_t channels = segments == 0 ? 0 : sum_dy.elements() / segments;
  const Shape shape{segments, channels};
  InputTerms terms{.mean_dy = New(shape, DType::kFloat64),
                   .mean_dy_xhat = New(shape, DType::kFloat64)};
  const Scales scale(gamma);
  const double* count = counts.Data<double>();
  std::vector<Accum> totals(static_cast<size_t>(sizes.empty() ? 0 : channels));
  const auto means = [&](const Tensor& sums, Tensor& result) {
    const double* row = sums.Data<double>();
    double* out = result.Data<double>();
    // Of `rows` segments that share the totals.
    const auto write = [&](const double* total, int64_t segment, int64_t rows) {
      for (int64_t s = segment; s < segment + rows; ++s, out += channels) {
        // Divided, not multiplied by 1 / n: the mean of equal elements is that element.
        const double n = std::max(1.0, count[s]);
        for (int64_t c = 0; c < channels; ++c) out[c] = scale[c] * (total[c] / n);
      }
    };
    int64_t segment = 0;
    for (const int64_t size : sizes) {
      std::ranges::fill(totals, 0);
      for (int64_t i = 0; i < size; ++i, row += channels) {
        for (int64_t c = 0; c < channels; ++c) totals[static_cast<size_t>(c)] += row[c];
      }
      write(totals.data(), segment, size);
      segment += size;
    }
    if (!sizes.empty()) return;
    for (; segment < segments; ++segment, row += channels) write(row, segment, 1);
  };
  means(sum_dy, terms.mean_dy);
  means(sum_dy_xhat, terms.mean_dy_xhat);
  return terms;
}

InputTerms HostExecutor::GroupInputTerms(const Tensor& sum_dy, const Tensor& sum_dy_xhat,
                                         const Tensor& counts, const Tensor& gamma,
                                         int64_t groups) {
  const int64_t segments = sum_dy.shape()[0], channels = sum_dy.shape()[1];
  SYNCBN_CHECK_EQ(channels % groups, 0) << "groups of channels";
  const int64_t size = channels / groups;
  InputTerms terms{.mean_dy = New(sum_dy.shape(), DType::kFloat64),
                   .mean_dy_xhat = New(sum_dy.shape(), DType::kFloat64)};
  const Scales of_channel(gamma);
  std::vector<double> scale(static_cast<size_t>(channels));
  for (int64_t c = 0; c < channels; ++c) scale[static_cast<size_t>(c)] = of_channel[c];
  const double* count = counts.Data<double>();
  const double* dy = sum_dy.Data<double>();
  const double* dy_xhat = sum_dy_xhat.Data<double>();
  double* mean_dy = terms.mean_dy.Data<double>();
  double* mean_dy_xhat = terms.mean_dy_xhat.Data<double>();
  for (int64_t s = 0; s < segments; ++s) {
    for (const double* factor = scale.data(); factor < scale.data() + channels; factor += size) {
      const double sum = SumInLanes(size, [&](int64_t j) { return factor[j] * dy[j]; });
      const double sum_xhat = SumInLanes(size, [&](int64_t j) { return factor[j] * dy_xhat[j]; });
      std::fill_n(mean_dy, size, sum / count[s]);
      std::fill_n(mean_dy_xhat, size, sum_xhat / count[s]);
      dy += size, dy_xhat += size, mean_dy += size, mean_dy_xhat += size;
    }
  }
  return terms;
}

// With r = running inv_std / inv_std and d = (mean - running mean) running inv_std, clipped,
// r (x - mean) inv_std + d = (x - (mean - d / (r inv_std))) (r inv_std).
Renorm HostExecutor::Renormalize(const RenormLimits& limits, const Tensor& running_mean,
                                 const Tensor& running_inv_std, Statistics& statistics) {
  const Shape& shape = statistics.mean.shape();
  const int64_t channels = shape.channels();
  SYNCBN_CHECK_EQ(running_mean.elements(), channels) << "running mean";
  SYNCBN_CHECK_EQ(running_inv_std.elements(), channels) << "running deviation";
  Renorm renorm{.r = New(shape, DType::kFloat64), .d = New(shape, DType::kFloat64)};
  double* mean = statistics.mean.Data<double>();
  double* inv_std = statistics.inv_std.Data<double>();
  for (int64_t i = 0; i < shape.elements(); ++i) {
    const int64_t c = i % channels;
    const double there = running_inv_std.Data<double>()[c];
    const double r = std::clamp(there / inv_std[i], 1 / limits.r_max, limits.r_max);
    const double d =
        std::clamp((mean[i] - running_mean.Data<double>()[c]) * there, -limits.d_max, limits.d_max);
    renorm.r.Data<double>()[i] = r;
    renorm.d.Data<double>()[i] = d;
    inv_std[i] *= r;
    mean[i] -= d / inv_std[i];
  }
  return renorm;
}

// With the norm's output z = r xhat + d and g = gamma dy, the gradient r inv_std (g - mean(g) -
// xhat mean(g xhat)) is (r inv_std) (g - a - z b) for b = mean(g xhat) / r and a = mean(g) - d b,
// where mean(g xhat) is (mean(g z) - d mean(g)) / r.
void HostExecutor::RenormInputTerms(const Renorm& renorm, InputTerms& terms) {
  double* mean_dy = terms.mean_dy.Data<double>();
  double* mean_dy_xhat = terms.mean_dy_xhat.Data<double>();
  SYNCBN_CHECK_EQ(renorm.r.elements(), terms.mean_dy.elements()) << "terms of a renormalization";
  for (int64_t i = 0; i < renorm.r.elements(); ++i) {
    const double r = renorm.r.Data<double>()[i], d = renorm.d.Data<double>()[i];
    const double slope = (mean_dy_xhat[i] - d * mean_dy[i]) / r / r;
    mean_dy_xhat[i] = slope;
    mean_dy[i] -= d * slope;
  }
}

}  // namespace syncbn::backend::host
