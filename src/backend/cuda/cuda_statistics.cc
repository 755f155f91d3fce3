#include <numeric>
#include <utility>

#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/kernels/merge.h"
#include "backend/cuda/kernels/statistics.h"
#include "backend/merge.h"

namespace syncbn::backend::cuda {
namespace {

// Channels of a block of moments.
int64_t ChannelsOf(const Tensor& moments) {
  return (moments.shape().channels() - 1) / 2;
}

void CheckGamma(const Tensor& gamma, int64_t channels) {
  if (gamma.defined()) SYNCBN_CHECK_EQ(gamma.elements(), channels) << "scale of a normalization";
}

int64_t SumOf(std::span<const int64_t> sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
}

}  // namespace

void CudaExecutor::MergeMoments(std::span<const int64_t> channels, std::span<const int64_t> sizes,
                                const Tensor& from, Tensor& into) {
  const int64_t row = into.shape().channels();
  CheckContent({.operation = MergeOperation::kMergeMoments,
                .dtype = DType::kFloat64,
                .elements = row,
                .channels = channels});
  if (row == 0) return;
  const int64_t all = from.elements() / row;
  const std::span<const int64_t> counts = sizes.empty() ? std::span(&all, 1) : sizes;
  SYNCBN_CHECK_EQ(static_cast<int64_t>(counts.size()) * row, into.elements()) << "merged moments";
  SYNCBN_CHECK_EQ(SumOf(counts) * row, from.elements()) << "moments to be merged";
  const double* const source = In<double>(from);
  double* const target = Out<double>(into);
  Run("merge of moments", [&](cudaStream_t stream) {
    kernels::MergeBlocks(stream, channels, row, counts, source, target);
  });
}

void CudaExecutor::MergeChannels(int64_t groups, Tensor& moments) {
  const int64_t channels = ChannelsOf(moments);
  SYNCBN_CHECK_EQ(channels % groups, 0) << "groups of channels";
  double* const blocks = Out<double>(moments);
  Run("merge of channels", [&](cudaStream_t stream) {
    kernels::MergeChannels(stream, moments.shape()[0], channels, groups, blocks);
  });
}

Statistics CudaExecutor::FinishMoments(const Tensor& moments, std::span<const int64_t> repeats,
                                       double epsilon) {
  const int64_t channels = ChannelsOf(moments), blocks = moments.shape()[0];
  if (!repeats.empty())
    SYNCBN_CHECK_EQ(static_cast<int64_t>(repeats.size()), blocks) << "repeated moments";
  const int64_t segments = repeats.empty() ? blocks : SumOf(repeats);
  Statistics result{.mean = New({segments, channels}, DType::kFloat64),
                    .inv_std = New({segments, channels}, DType::kFloat64),
                    .counts = New({segments}, DType::kFloat64)};
  const double* const from = In<double>(moments);
  double *const mean = Out<double>(result.mean), *const inv_std = Out<double>(result.inv_std);
  double* const counts = Out<double>(result.counts);
  Run("finishing of moments", [&](cudaStream_t stream) {
    kernels::FinishMoments(stream, from, blocks, channels, repeats, epsilon, mean, inv_std, counts);
  });
  return result;
}

Tensor CudaExecutor::InverseStd(const Tensor& variance, double epsilon) {
  Tensor result = New(variance.shape(), DType::kFloat64);
  const double* const from = In<double>(variance);
  double* const to = Out<double>(result);
  Run("inverse deviation", [&](cudaStream_t stream) {
    kernels::InverseStd(stream, from, variance.elements(), epsilon, to);
  });
  return result;
}

void CudaExecutor::AffineGradients(const Tensor& sum_dy, const Tensor& sum_dy_xhat,
                                   GradientOut dgamma, GradientOut dbeta) {
  const auto gradient = [&](const Tensor& sums, const GradientOut& out) -> kernels::AffineGradient {
    if (!out.tensor.defined()) return {};
    SYNCBN_CHECK_EQ(sums.shape().channels(), out.tensor.elements())
        << "gradient of a scale or shift";
    return {In<double>(sums), Out<float>(out.tensor), out.accumulate};
  };
  const kernels::AffineGradient gamma = gradient(sum_dy_xhat, dgamma),
                                beta = gradient(sum_dy, dbeta);
  const int64_t channels = sum_dy.shape().channels();
  const int64_t segments = channels == 0 ? 0 : sum_dy.elements() / channels;
  const Tensor scratch =
      New({kernels::AffineGradientsScratch(segments, channels)}, DType::kFloat64);
  double* const memory = Out<double>(scratch);
  Run("gradients of scale and shift", [&](cudaStream_t stream) {
    kernels::AffineGradients(stream, segments, channels, gamma, beta, memory);
  });
}

InputTerms CudaExecutor::BatchInputTerms(const Tensor& sum_dy, const Tensor& sum_dy_xhat,
                                         const Tensor& counts, const Tensor& gamma,
                                         std::span<const int64_t> sizes) {
  // The statistics may be shared with other replicas: as many sums as segments, in any shape.
  const int64_t segments = counts.elements();
  const int64_t channels = segments == 0 ? 0 : sum_dy.elements() / segments;
  CheckGamma(gamma, segments == 0 ? gamma.elements() : channels);
  if (!sizes.empty()) SYNCBN_CHECK_EQ(SumOf(sizes), segments) << "segments that share statistics";
  InputTerms terms{.mean_dy = New({segments, channels}, DType::kFloat64),
                   .mean_dy_xhat = New({segments, channels}, DType::kFloat64)};
  const kernels::InputTermsArgs args{.segments = segments,
                                     .channels = channels,
                                     .sum_dy = In<double>(sum_dy),
                                     .sum_dy_xhat = In<double>(sum_dy_xhat),
                                     .counts = In<double>(counts),
                                     .gamma = In<float>(gamma),
                                     .mean_dy = Out<double>(terms.mean_dy),
                                     .mean_dy_xhat = Out<double>(terms.mean_dy_xhat)};
  Run("input terms of a batch",
      [&](cudaStream_t stream) { kernels::BatchInputTerms(stream, args, sizes); });
  return terms;
}

InputTerms CudaExecutor::GroupInputTerms(const Tensor& sum_dy, const Tensor& sum_dy_xhat,
                                         const Tensor& counts, const Tensor& gamma,
                                         int64_t groups) {
  const int64_t segments = sum_dy.shape()[0], channels = sum_dy.shape()[1];
  SYNCBN_CHECK_EQ(channels % groups, 0) << "groups of channels";
  CheckGamma(gamma, channels);
  InputTerms terms{.mean_dy = New(sum_dy.shape(), DType::kFloat64),
                   .mean_dy_xhat = New(sum_dy.shape(), DType::kFloat64)};
  const kernels::InputTermsArgs args{.segments = segments,
                                     .channels = channels,
                                     .sum_dy = In<double>(sum_dy),
                                     .sum_dy_xhat = In<double>(sum_dy_xhat),
                                     .counts = In<double>(counts),
                                     .gamma = In<float>(gamma),
                                     .mean_dy = Out<double>(terms.mean_dy),
                                     .mean_dy_xhat = Out<double>(terms.mean_dy_xhat)};
  Run("input terms of groups",
      [&](cudaStream_t stream) { kernels::GroupInputTerms(stream, args, groups); });
  return terms;
}

Renorm CudaExecutor::Renormalize(const RenormLimits& limits, const Tensor& running_mean,
                                 const Tensor& running_inv_std, Statistics& statistics) {
  const Shape& shape = statistics.mean.shape();
  const int64_t channels = shape.channels();
  SYNCBN_CHECK_EQ(running_mean.elements(), channels) << "running mean";
  SYNCBN_CHECK_EQ(running_inv_std.elements(), channels) << "running deviation";
  Renorm renorm{.r = New(shape, DType::kFloat64), .d = New(shape, DType::kFloat64)};
  const kernels::RenormArgs args{.segments = channels == 0 ? 0 : shape.elements() / channels,
                                 .channels = channels,
                                 .r_min = 1 / limits.r_max,
                                 .r_max = limits.r_max,
                                 .d_max = limits.d_max,
                                 .running_mean = In<double>(running_mean),
                                 .running_inv_std = In<double>(running_inv_std),
                                 .mean = Out<double>(statistics.mean),
                                 .inv_std = Out<double>(statistics.inv_std),
                                 .r = Out<double>(renorm.r),
                                 .d = Out<double>(renorm.d)};
  Run("renormalization", [&](cudaStream_t stream) { kernels::Renormalize(stream, args); });
  return renorm;
}

void CudaExecutor::RenormInputTerms(const Renorm& renorm, InputTerms& terms) {
  const int64_t elements = renorm.r.elements();
  SYNCBN_CHECK_EQ(elements, terms.mean_dy.elements()) << "terms of a renormalization";
  const double *const r = In<double>(renorm.r), *const d = In<double>(renorm.d);
  double *const mean_dy = Out<double>(terms.mean_dy), *const mean_dy_xhat =
                                                          Out<double>(terms.mean_dy_xhat);
  Run("input terms of a renormalization", [&](cudaStream_t stream) {
    kernels::RenormInputTerms(stream, r, d, elements, mean_dy, mean_dy_xhat);
  });
}

}  // namespace syncbn::backend::cuda
