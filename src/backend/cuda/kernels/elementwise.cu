#include "backend/cuda/kernels/elementwise.h"

#include "backend/cuda/kernels/each.h"
#include "backend/cuda/kernels/elements.h"

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

template <typename T>
struct AddBody {
  const T* a;
  const T* b;
  T* sum;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    Vector<float, N> left = LoadFloats<N>(a + i);
    const Vector<float, N> right = LoadFloats<N>(b + i);
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) left[k] += right[k];
    StoreFloats(sum + i, left);
  }
};

// Four elements a thread: 16 bytes of float, 8 of BFloat16.
template <typename To, typename From>
struct ConvertBody {
  const From* from;
  To* to;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    StoreFloats(to + i, LoadFloats<N>(from + i));
  }
};

}  // namespace

template <typename T>
void Fill(cudaStream_t stream, T* x, int64_t elements, T value) {
  LaunchEach<kInVector<T>>(stream, "fill", elements, sizeof(T), Aligned16(x), FillBody<T>{x, value});
}
template <typename T>
void Add(cudaStream_t stream, const T* a, const T* b, T* sum, int64_t elements) {
  LaunchEach<kInVector<T>>(stream, "add", elements, 3 * sizeof(T), Aligned16(a, b, sum), AddBody<T>{a, b, sum});
}
template <typename To, typename From>
void Convert(cudaStream_t stream, const From* from, To* to, int64_t elements) {
  LaunchEach<4>(stream, "convert", elements, sizeof(From) + sizeof(To), Aligned16(from, to),
                ConvertBody<To, From>{from, to});
}

template void Fill(cudaStream_t, float*, int64_t, float);
template void Fill(cudaStream_t, double*, int64_t, double);
template void Fill(cudaStream_t, BFloat16*, int64_t, BFloat16);
template void Add(cudaStream_t, const float*, const float*, float*, int64_t);
template void Add(cudaStream_t, const BFloat16*, const BFloat16*, BFloat16*, int64_t);
template void Convert(cudaStream_t, const float*, BFloat16*, int64_t);
template void Convert(cudaStream_t, const BFloat16*, float*, int64_t);

}  // namespace syncbn::backend::cuda::kernels
