#include "backend/cuda/kernels/weight_norm.h"

#include <cmath>

#include "backend/cuda/kernels/block_sum.h"
#include "backend/cuda/kernels/fours.h"

namespace syncbn::backend::cuda::kernels {
namespace {

constexpr int kThreads = 128;
constexpr int64_t kFloat = sizeof(float), kDouble = sizeof(double);

// A block for each output: norm = |v|, weight = gain / norm * v, in double, rounded once. Thread t
// treats elements 4 t .. 4 t + 3 of each 512, by 16-byte accesses where the row is aligned. Moved:
// v twice (the second time it comes from the cache: a row is a few KiB), the weight once, 12 bytes
// an output.
struct ForwardKernel {
  static constexpr bool kCooperative = true;
  WeightNormArguments a;
  float* weight;
  double* norms;

  SYNCBN_DEVICE void operator()() const {
    const float* const v = a.v + Block() * a.inputs;
    float* const to = weight + Block() * a.inputs;
    const bool aligned = IsAligned16(v) && IsAligned16(to);
    double squares = 0;
    for (int64_t i = 4 * Thread(); i < a.inputs; i += 4 * kThreads) {
      const Vector<float, 4> x = LoadFour(v, i, a.inputs, aligned);
      SYNCBN_UNROLL
      for (int k = 0; k < 4; ++k)
        squares = fma(static_cast<double>(x[k]), static_cast<double>(x[k]), squares);
    }
    const double norm = sqrt(BlockSum(squares));
    const double factor = static_cast<double>(LoadCached(a.gain + Block())) / norm;
    if (Thread() == 0) Store(norms + Block(), norm);
    for (int64_t i = 4 * Thread(); i < a.inputs; i += 4 * kThreads) {
      Vector<float, 4> x = LoadFour(v, i, a.inputs, aligned);
      SYNCBN_UNROLL
      for (int k = 0; k < 4; ++k) x[k] = static_cast<float>(factor * static_cast<double>(x[k]));
      StoreFour(to, i, a.inputs, aligned, x);
    }
  }
};

// A block for each output, laid out as above: dgain = dw . v / norm, dv = gain / norm dw - gain
// dgain / norm^2 v, in double, rounded once (but added to what is there in float32). Moved: v and
// dw, twice if dv is wanted (the second time from the cache), dv there and back.
struct BackwardKernel {
  static constexpr bool kCooperative = true;
  WeightNormArguments a;
  const double* norms;
  const float* dweight;
  WeightNormGradients gradients;

  SYNCBN_DEVICE void operator()() const {
    const int64_t row = Block() * a.inputs;
    const float *const v = a.v + row, *const dw = dweight + row;
    float* const dv = gradients.dv == nullptr ? nullptr : gradients.dv + row;
    const bool aligned = IsAligned16(v) && IsAligned16(dw) && IsAligned16(dv);
    double product = 0;
    for (int64_t i = 4 * Thread(); i < a.inputs; i += 4 * kThreads) {
      const Vector<float, 4> x = LoadFour(v, i, a.inputs, aligned),
                             dx = LoadFour(dw, i, a.inputs, aligned);
      SYNCBN_UNROLL
      for (int k = 0; k < 4; ++k)
        product = fma(static_cast<double>(dx[k]), static_cast<double>(x[k]), product);
    }
    const double norm = LoadCached(norms + Block());
    const double gain = static_cast<double>(LoadCached(a.gain + Block()));
    const double dgain = BlockSum(product) / norm;
    if (gradients.dgain != nullptr && Thread() == 0) {
      float* const to = gradients.dgain + Block();
      const float before = gradients.accumulate_dgain ? Load(to) : 0.0F;
      Store(to, static_cast<float>(static_cast<double>(before) + dgain));
    }
    if (dv == nullptr) return;
    const double along = gain / norm, back = gain * dgain / (norm * norm);
    for (int64_t i = 4 * Thread(); i < a.inputs; i += 4 * kThreads) {
      const Vector<float, 4> x = LoadFour(v, i, a.inputs, aligned),
                             dx = LoadFour(dw, i, a.inputs, aligned);
      Vector<float, 4> sum{};
      if (gradients.accumulate_dv) sum = LoadFour(dv, i, a.inputs, aligned);
      SYNCBN_UNROLL
      for (int k = 0; k < 4; ++k) {
        const double gradient =
            along * static_cast<double>(dx[k]) - back * static_cast<double>(x[k]);
        sum[k] = static_cast<float>(static_cast<double>(sum[k]) + gradient);
      }
      StoreFour(dv, i, a.inputs, aligned, sum);
    }
  }
};

}  // namespace

void WeightNormForward(cudaStream_t stream, const WeightNormArguments& arguments, float* weight,
                       double* norms) {
  const int64_t elements = arguments.outputs * arguments.inputs;
  Launch(stream,
         {.name = "weight norm",
          .blocks = arguments.outputs,
          .threads = kThreads,
          .bytes = 3 * elements * kFloat + arguments.outputs * kDouble},
         ForwardKernel{arguments, weight, norms});
}

void WeightNormBackward(cudaStream_t stream, const WeightNormArguments& arguments,
                        const double* norms, const float* dweight,
                        const WeightNormGradients& gradients) {
  const int64_t elements = arguments.outputs * arguments.inputs;
  const int64_t passes = gradients.dv == nullptr ? 2 : gradients.accumulate_dv ? 6 : 5;
  const int64_t of_gain = gradients.dgain == nullptr ? 0 : gradients.accumulate_dgain ? 2 : 1;
  Launch(stream,
         {.name = "weight norm backward",
          .blocks = arguments.outputs,
          .threads = kThreads,
          .bytes = (passes * elements + of_gain * arguments.outputs) * kFloat},
         BackwardKernel{arguments, norms, dweight, gradients});
}

}  // namespace syncbn::backend::cuda::kernels
