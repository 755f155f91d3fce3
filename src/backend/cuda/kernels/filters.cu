#include "backend/cuda/kernels/filters.h"

#include "backend/cuda/kernels/each.h"
#include "backend/cuda/kernels/elements.h"

namespace syncbn::backend::cuda::kernels {
namespace {

// One element a thread, in the order of the target: filters are a few MiB and stay in the L2 cache, which the reads
// that jump by `window` or `inputs` elements come from. Read and written once; to add,
// twice read. T: float or BFloat16, of the filter; parameters and their gradients are float.
template <typename T>
struct PackBody {
  const float* oihw;
  T* ohwi;
  int64_t inputs, window;
  template <int N>
  SYNCBN_DEVICE void At(int64_t to) const {
    const int64_t i = to % inputs, k = to / inputs % window, o = to / inputs / window;
    StoreFloat(ohwi + to, Load(oihw + (o * inputs + i) * window + k));
  }
};

template <typename T>
struct UnpackBody {
  const T* ohwi;
  float* oihw;
  int64_t inputs, window;
  bool accumulate;
  template <int N>
  SYNCBN_DEVICE void At(int64_t to) const {
    const int64_t k = to % window, i = to / window % inputs, o = to / window / inputs;
    const float value = LoadFloat(ohwi + (o * window + k) * inputs + i);
    Store(oihw + to, accumulate ? Load(oihw + to) + value : value);
  }
};

}  // namespace

template <typename T>
void PackFilter(cudaStream_t stream, const float* oihw, T* ohwi, int64_t outputs, int64_t inputs, int64_t window) {
  LaunchEach<1>(stream, "pack filter", outputs * inputs * window, sizeof(float) + sizeof(T), true,
                PackBody<T>{oihw, ohwi, inputs, window});
}

template <typename T>
void UnpackFilter(cudaStream_t stream, const T* ohwi, float* oihw, int64_t outputs, int64_t inputs, int64_t window,
                  bool accumulate) {
  LaunchEach<1>(stream, "unpack filter", outputs * inputs * window,
                sizeof(T) + (accumulate ? 2 : 1) * sizeof(float), true,
                UnpackBody<T>{ohwi, oihw, inputs, window, accumulate});
}

template void PackFilter(cudaStream_t, const float*, float*, int64_t, int64_t, int64_t);
template void PackFilter(cudaStream_t, const float*, BFloat16*, int64_t, int64_t, int64_t);
template void UnpackFilter(cudaStream_t, const float*, float*, int64_t, int64_t, int64_t, bool);
template void UnpackFilter(cudaStream_t, const BFloat16*, float*, int64_t, int64_t, int64_t, bool);

}  // namespace syncbn::backend::cuda::kernels
