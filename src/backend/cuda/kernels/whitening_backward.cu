// Iterative normalization: the way back through Newton's iteration. The formulas are those of
// host/whitening.cc.
#include <cmath>
#include <utility>

#include "backend/cuda/kernels/block_sum.h"
#include "backend/cuda/kernels/group_matrices.h"
#include "backend/cuda/kernels/whitening.h"

namespace syncbn::backend::cuda::kernels {
namespace {

constexpr int64_t kDouble = sizeof(double);
constexpr int kThreads = kMatrixThreads;

// dY = 0, dZ = dW / sqrt(trace)
struct StartBackwardBody {
  Matrices y0, dw, dy, dz;

  SYNCBN_DEVICE void operator()(const Groups& groups, const GroupPlace& at) const {
    const double trace = LoadCached(y0.Of(groups, at.k) - 1);
    const int64_t element = at.i * at.d + at.j;
    Store(dy.Of(groups, at.k) + element, 0.0);
    Store(dz.Of(groups, at.k) + element, 1 / sqrt(trace) * Load(dw.Of(groups, at.k) + element));
  }
};

// A block for each group: the gradient of its trace, -<dW, Z> / (2 trace^(3/2)) - <dY_0, S> /
// trace, S = Y_0, in the order of BlockSum; and the means of the gradient. Moved: four matrices,
// the sums and means.
struct TraceGradientKernel {
  static constexpr bool kCooperative = true;
  Groups groups;
  Matrices y0, z, dw, dy;
  double* mean_gradient;
  double* dtrace;  // [groups]

  SYNCBN_DEVICE void operator()() const {
    const int64_t k = Block(), d = groups.Size(k);
    const double* const s = y0.Of(groups, k);
    const double* const last = z.Of(groups, k);
    const double* const w_gradient = dw.Of(groups, k);
    const double* const y_gradient = dy.Of(groups, k);
    double along_z = 0, along_s = 0;
    for (int64_t e = Thread(); e < d * d; e += kThreads) {
      along_z = fma(Load(w_gradient + e), Load(last + e), along_z);
      along_s = fma(Load(y_gradient + e), Load(s + e), along_s);
    }
    along_z = BlockSum(along_z);
    along_s = BlockSum(along_s);
    const double trace = LoadCached(s - 1), count = LoadCached(s - 2);
    const double share = count > 1 ? count : 1;
    for (int64_t j = Thread(); j < d; j += kThreads) {
      Store(mean_gradient + groups.Begin(k) + j, Load(w_gradient - d + j) / share);
    }
    if (Thread() == 0) Store(dtrace + k, -0.5 * along_z / sqrt(trace) / trace - along_s / trace);
  }
};

// 2 / n D, D = (dY_0 + dY_0^T) / (2 trace) + dtrace I
struct SlopeBody {
  Matrices y0, dy;
  const double* dtrace;
  Matrices slope;

  SYNCBN_DEVICE void operator()(const Groups& groups, const GroupPlace& at) const {
    const double* const before = y0.Of(groups, at.k);
    const double trace = LoadCached(before - 1), count = LoadCached(before - 2);
    const double* const from = dy.Of(groups, at.k);
    const double sum = Load(from + at.i * at.d + at.j) + Load(from + at.j * at.d + at.i);
    const double gradient = 0.5 * sum / trace + (at.i == at.j ? LoadCached(dtrace + at.k) : 0);
    Store(slope.Of(groups, at.k) + at.i * at.d + at.j, 2 / (count > 1 ? count : 1) * gradient);
  }
};

}  // namespace

int64_t WhitenBackwardScratch(const WhiteningSpec& spec) {
  return 6 * spec.matrix_elements() + spec.groups();
}

void WhitenBackward(cudaStream_t stream, const WhiteningSpec& spec, const double* newton,
                    const double* sums, double* mean_gradient, double* slopes, double* scratch) {
  const Groups groups(spec);
  double* const iterates = const_cast<double*>(newton);  // which are only read
  const auto y = [&](int64_t k) { return Iterate(spec, iterates, k, false); };
  const auto z = [&](int64_t k) { return Iterate(spec, iterates, k, true); };
  const auto part = [&](int64_t i) {
    return Matrices{.base = scratch + i * spec.matrix_elements()};
  };
  const Matrices dw{.base = const_cast<double*>(sums), .linear = 1, .at_linear = 1};
  const Matrices r = part(0), dr = part(1);
  Matrices dy = part(2), dz = part(3), next_dy = part(4), next_dz = part(5);
  double* const dtrace = scratch + 6 * spec.matrix_elements();

  ForElements(stream, "start of a whitening's gradient", spec, 3,
              StartBackwardBody{y(0), dw, dy, dz});
  for (int64_t k = spec.iterations - 1; k >= 0; --k) {
    const GroupProduct first[] = {
        Factor(z(k), y(k), r), {.a1 = dz, .b1 = z(k), .a2 = y(k), .b2 = dy, .factor2 = 1, .c = dr}};
    Multiply(stream, spec, first, 2);
    const GroupProduct second[] = {
        {.a1 = dy, .b1 = r, .a2 = z(k), .b2 = dr, .factor2 = -0.5, .c = next_dy},
        {.a1 = r, .b1 = dz, .a2 = dr, .b2 = y(k), .factor2 = -0.5, .c = next_dz}};
    Multiply(stream, spec, second, 2);
    std::swap(dy, next_dy);
    std::swap(dz, next_dz);
  }
  Launch(stream,
         {.name = "gradient of a whitening's trace",
          .blocks = groups.groups,
          .threads = kThreads,
          .bytes = (4 * spec.matrix_elements() + 2 * spec.channels + groups.groups) * kDouble},
         TraceGradientKernel{groups, y(0), z(spec.iterations), dw, dy, mean_gradient, dtrace});
  ForElements(stream, "slope of a whitening", spec, 3,
              SlopeBody{y(0), dy, dtrace, Matrices{.base = slopes}});
}

}  // namespace syncbn::backend::cuda::kernels
