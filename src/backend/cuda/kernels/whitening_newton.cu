// Iterative normalization: Newton's iteration for the inverse square root of each group's
// covariance. The formulas are those of host/whitening.cc.
#include <cmath>

#include "backend/cuda/kernels/block_sum.h"
#include "backend/cuda/kernels/group_matrices.h"
#include "backend/cuda/kernels/whitening.h"

namespace syncbn::backend::cuda::kernels {
namespace {

constexpr int64_t kDouble = sizeof(double);
constexpr int kThreads = kMatrixThreads;

// Where the statistics of a group are: blocks of moments [count, mean[d], triangle of co-moments]
// ...
struct FromMoments {
  const double* base;

  SYNCBN_DEVICE const double* Of(const Groups& groups, int64_t k) const {
    return base + k * (1 + groups.group + Triangle(groups.group));
  }
  SYNCBN_DEVICE double Count(const Groups& groups, int64_t k) const {
    return LoadCached(Of(groups, k));
  }
  SYNCBN_DEVICE const double* Mean(const Groups& groups, int64_t k) const {
    return Of(groups, k) + 1;
  }
  SYNCBN_DEVICE double Covariance(const Groups& groups, int64_t k, int64_t i, int64_t j) const {
    const int64_t d = groups.Size(k);
    const double count = Count(groups, k);
    const double sum = Load(Of(groups, k) + 1 + d + TriangleAt(d, i < j ? i : j, i < j ? j : i));
    return count > 0 ? sum / count : 0;
  }
};
// ... or running statistics [mean[d], covariance[d, d], batches].
struct FromRunning {
  const double* base;

  SYNCBN_DEVICE const double* Of(const Groups& groups, int64_t k) const {
    return base + groups.Offset(k, 1, 1, 1);
  }
  SYNCBN_DEVICE double Count(const Groups&, int64_t) const { return 0; }
  SYNCBN_DEVICE const double* Mean(const Groups& groups, int64_t k) const { return Of(groups, k); }
  SYNCBN_DEVICE double Covariance(const Groups& groups, int64_t k, int64_t i, int64_t j) const {
    const int64_t d = groups.Size(k);
    return Load(Of(groups, k) + d + i * d + j);
  }
};

// A block for each group: its mean copied, its count, and the trace of its covariance plus epsilon,
// thread t adding every 256th element of the diagonal, then BlockSum. Moved: mean there and back,
// the diagonal.
template <typename From>
struct TraceKernel {
  static constexpr bool kCooperative = true;
  Groups groups;
  From from;
  double epsilon;
  int64_t newton_squares;
  double* mean;
  double* newton;

  SYNCBN_DEVICE void operator()() const {
    const int64_t k = Block(), d = groups.Size(k);
    const double* const means = from.Mean(groups, k);
    double trace = 0;
    for (int64_t i = Thread(); i < d; i += kThreads) {
      trace += from.Covariance(groups, k, i, i) + epsilon;
      Store(mean + groups.Begin(k) + i, Load(means + i));
    }
    trace = BlockSum(trace);
    if (Thread() != 0) return;
    double* const to = newton + groups.Offset(k, 2, 0, newton_squares);
    Store(to, from.Count(groups, k));
    Store(to + 1, trace);
  }
};

// Y_0 = (covariance + epsilon I) / trace, Z_0 = I.
template <typename From>
struct StartBody {
  From from;
  double epsilon;
  Matrices y, z;

  SYNCBN_DEVICE void operator()(const Groups& groups, const GroupPlace& at) const {
    double* const to = y.Of(groups, at.k);
    const double trace = LoadCached(to - 1);  // in front of Y_0
    const bool diagonal = at.i == at.j;
    const double covariance = from.Covariance(groups, at.k, at.i, at.j) + (diagonal ? epsilon : 0);
    Store(to + at.i * at.d + at.j, covariance / trace);
    Store(z.Of(groups, at.k) + at.i * at.d + at.j, diagonal ? 1.0 : 0.0);
  }
};

// W = Z / sqrt(trace)
struct FinishBody {
  Matrices y0, z, w;

  SYNCBN_DEVICE void operator()(const Groups& groups, const GroupPlace& at) const {
    const double trace = LoadCached(y0.Of(groups, at.k) - 1);
    const int64_t element = at.i * at.d + at.j;
    Store(w.Of(groups, at.k) + element, 1 / sqrt(trace) * Load(z.Of(groups, at.k) + element));
  }
};

template <typename From>
void Whiten(cudaStream_t stream, const WhiteningSpec& spec, const From& from,
            const NewtonArguments& to) {
  const Groups groups(spec);
  const auto y = [&](int64_t k) { return Iterate(spec, to.newton, k, false); };
  const auto z = [&](int64_t k) { return Iterate(spec, to.newton, k, true); };
  Launch(stream,
         {.name = "trace of a whitening",
          .blocks = groups.groups,
          .threads = kThreads,
          .bytes = (3 * groups.channels + 2 * groups.groups) * kDouble},
         TraceKernel<From>{groups, from, spec.epsilon, NewtonSquares(spec), to.mean, to.newton});
  ForElements(stream, "start of a whitening", spec, 3,
              StartBody<From>{from, spec.epsilon, y(0), z(0)});
  const Matrices r{.base = to.scratch};
  for (int64_t k = 0; k < spec.iterations; ++k) {
    const GroupProduct factor = Factor(z(k), y(k), r);
    Multiply(stream, spec, &factor, 1);
    const GroupProduct next[] = {{.a1 = y(k), .b1 = r, .c = y(k + 1)},
                                 {.a1 = r, .b1 = z(k), .c = z(k + 1)}};
    Multiply(stream, spec, next, 2);
  }
  ForElements(stream, "whitening matrix", spec, 2,
              FinishBody{y(0), z(spec.iterations), Matrices{.base = to.matrix}});
}

}  // namespace

int64_t NewtonElements(const WhiteningSpec& spec) {
  return 2 * spec.groups() + NewtonSquares(spec) * spec.matrix_elements();
}

void WhitenByMoments(cudaStream_t stream, const WhiteningSpec& spec, const double* moments,
                     const NewtonArguments& to) {
  Whiten(stream, spec, FromMoments{moments}, to);
}
void WhitenByRunning(cudaStream_t stream, const WhiteningSpec& spec, const double* running,
                     const NewtonArguments& to) {
  Whiten(stream, spec, FromRunning{running}, to);
}

}  // namespace syncbn::backend::cuda::kernels
