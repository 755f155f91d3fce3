#include "backend/cuda/kernels/filters.h"

#include "backend/cuda/kernels/each.h"

namespace syncbn::backend::cuda::kernels {
namespace {

// One element a thread, in the order of the target: filters are a few MiB and stay in the L2 cache, which the reads
// that jump by `window` or `inputs` elements come from. Moves 8 bytes an element, 12 to add.
struct PackBody {
  const float* oihw;
  float* ohwi;
  int64_t inputs, window;
  template <int N>
  SYNCBN_DEVICE void At(int64_t to) const {
    const int64_t i = to % inputs, k = to / inputs % window, o = to / inputs / window;
    Store(ohwi + to, Load(oihw + (o * inputs + i) * window + k));
  }
};

struct UnpackBody {
  const float* ohwi;
  float* oihw;
  int64_t inputs, window;
  bool accumulate;
  template <int N>
  SYNCBN_DEVICE void At(int64_t to) const {
    const int64_t k = to % window, i = to / window % inputs, o = to / window / inputs;
    const float value = Load(ohwi + (o * window + k) * inputs + i);
    Store(oihw + to, accumulate ? Load(oihw + to) + value : value);
  }
};

}  // namespace

void PackFilter(cudaStream_t stream, const float* oihw, float* ohwi, int64_t outputs, int64_t inputs, int64_t window) {
  LaunchEach<1>(stream, "pack filter", outputs * inputs * window, 2 * sizeof(float), true,
                PackBody{oihw, ohwi, inputs, window});
}

void UnpackFilter(cudaStream_t stream, const float* ohwi, float* oihw, int64_t outputs, int64_t inputs,
                  int64_t window, bool accumulate) {
  LaunchEach<1>(stream, "unpack filter", outputs * inputs * window, (accumulate ? 3 : 2) * sizeof(float), true,
                UnpackBody{ohwi, oihw, inputs, window, accumulate});
}

}  // namespace syncbn::backend::cuda::kernels
