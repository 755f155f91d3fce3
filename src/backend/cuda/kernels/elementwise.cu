#include "backend/cuda/kernels/elementwise.h"

#include "backend/cuda/kernels/each.h"

namespace syncbn::backend::cuda::kernels {
namespace {

template <typename T>
struct FillBody {
  T* x;
  T value;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    Vector<T, N> filled;
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) filled[k] = value;
    StoreVector(x + i, filled);
  }
};

struct AddBody {
  const float* a;
  const float* b;
  float* sum;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    Vector<float, N> left = LoadVector<N>(a + i);
    const Vector<float, N> right = LoadVector<N>(b + i);
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) left[k] += right[k];
    StoreVector(sum + i, left);
  }
};

}  // namespace

void Fill(cudaStream_t stream, float* x, int64_t elements, float value) {
  LaunchEach<4>(stream, "fill", elements, sizeof(float), Aligned16(x), FillBody<float>{x, value});
}
void Fill(cudaStream_t stream, double* x, int64_t elements, double value) {
  LaunchEach<2>(stream, "fill", elements, sizeof(double), Aligned16(x), FillBody<double>{x, value});
}
void Add(cudaStream_t stream, const float* a, const float* b, float* sum, int64_t elements) {
  LaunchEach<4>(stream, "add", elements, 3 * sizeof(float), Aligned16(a, b, sum), AddBody{a, b, sum});
}

}  // namespace syncbn::backend::cuda::kernels
