// What becomes of moments and of a normalization's sums. All statistics are double; nothing is done
// for no elements. Where the host has the same formula (backend/host/statistics.cc) the bits are
// the host's.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>

namespace syncbn::backend::cuda::kernels {

// moments, blocks x [count, mean[C], m2[C]]: mean and m2 of each of `groups` groups of consecutive
// channels in the place of those of its channels, count multiplied by their number.
void MergeChannels(cudaStream_t stream, int64_t blocks, int64_t channels, int64_t groups,
                   double* moments);

// A segment for each block, or repeats[i] for the i-th where `repeats` is not empty: mean, inv_std
// = 1 / sqrt(m2 / count
// + epsilon), with 0 elements 1 / sqrt(epsilon), and count.
void FinishMoments(cudaStream_t stream, const double* moments, int64_t blocks, int64_t channels,
                   std::span<const int64_t> repeats, double epsilon, double* mean, double* inv_std,
                   double* counts);

// inv_std[i] = 1 / sqrt(variance[i] + epsilon)
void InverseStd(cudaStream_t stream, const double* variance, int64_t elements, double epsilon,
                double* inv_std);

// out[c] (+)= the sum of sums[segment][c] over segments, for two sums at a time; an `out` may be
// null. Scratch: AffineGradientsScratch doubles. 0 segments are right.
struct AffineGradient {
  const double* sums = nullptr;
  float* out = nullptr;
  bool accumulate = false;
};
void AffineGradients(cudaStream_t stream, int64_t segments, int64_t channels,
                     const AffineGradient& gamma, const AffineGradient& beta, double* scratch);
int64_t AffineGradientsScratch(int64_t segments, int64_t channels);

// Of sum_dy and sum_dy_xhat, [segments][channels], the means that the gradient of the input needs.
struct InputTermsArgs {
  int64_t segments = 0, channels = 0;
  const double* sum_dy = nullptr;
  const double* sum_dy_xhat = nullptr;
  const double* counts = nullptr;  // [segments]
  const float* gamma = nullptr;    // [channels], or null for 1
  double* mean_dy = nullptr;
  double* mean_dy_xhat = nullptr;
};
// gamma (sum / max(1, count)); with `sizes`, of the sum over the first sizes[0] segments for each
// of these, and so on.
void BatchInputTerms(cudaStream_t stream, const InputTermsArgs& args,
                     std::span<const int64_t> sizes);
// (the sum of gamma sum over each of `groups` groups of channels) / count
void GroupInputTerms(cudaStream_t stream, const InputTermsArgs& args, int64_t groups);

// See Executor::Renormalize and RenormInputTerms: r, d, mean, inv_std are [segments][channels].
struct RenormArgs {
  int64_t segments = 0, channels = 0;
  double r_min = 1, r_max = 1, d_max = 0;  // r_min = 1 / r_max
  const double* running_mean = nullptr;
  const double* running_inv_std = nullptr;
  double* mean = nullptr;
  double* inv_std = nullptr;
  double* r = nullptr;
  double* d = nullptr;
};
void Renormalize(cudaStream_t stream, const RenormArgs& args);
void RenormInputTerms(cudaStream_t stream, const double* r, const double* d, int64_t elements,
                      double* mean_dy, double* mean_dy_xhat);

}  // namespace syncbn::backend::cuda::kernels
