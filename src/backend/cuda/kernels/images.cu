#include "backend/cuda/kernels/images.h"

#include "backend/cuda/kernels/each.h"
#include "backend/cuda/kernels/elements.h"

namespace syncbn::backend::cuda::kernels {
namespace {

SYNCBN_DEVICE int32_t Clamped(int32_t at, uint32_t extent) {
  const int32_t last = static_cast<int32_t>(extent) - 1;
  return at < 0 ? 0 : at > last ? last : at;
}

// 16 bytes of images a thread, which may be of two images and more: divisions, in 32 bits, for the
// first of its elements alone. Each element is written once, and for each a byte read: outside of
// the image that of its nearest pixel, which is not used, so that no thread waits for a branch.
// Neighbouring threads read neighbouring bytes, except across the edges of rows; changes and values
// come from a cache.
template <typename T>
struct MakeImagesBody {
  RawImages raw;
  T* images;

  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const auto first = static_cast<uint32_t>(i);
    const uint32_t pixel = first / raw.channels, row = pixel / raw.width;
    uint32_t n = row / raw.height;
    uint32_t c = first - pixel * raw.channels, x = pixel - row * raw.width,
             y = row - n * raw.height;
    ImageChange change = LoadCached(raw.changes + n);
    Vector<float, N> values;
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) {
      values[k] = Value(change, n, y, x, c);
      if (k + 1 == N || ++c < raw.channels) continue;
      c = 0;
      if (++x < raw.width) continue;
      x = 0;
      if (++y < raw.height) continue;
      y = 0;
      change = LoadCached(raw.changes + ++n);
    }
    StoreFloats(images + i, values);
  }

  SYNCBN_DEVICE float Value(const ImageChange& change, uint32_t n, uint32_t y, uint32_t x,
                            uint32_t c) const {
    const int32_t from_y = static_cast<int32_t>(y) + change.dy;
    const int32_t from_x =
        static_cast<int32_t>(change.flip != 0 ? raw.width - 1 - x : x) + change.dx;
    const int32_t near_y = Clamped(from_y, raw.height), near_x = Clamped(from_x, raw.width);
    const uint32_t near_row = n * raw.height + static_cast<uint32_t>(near_y);
    const uint32_t at = (near_row * raw.width + static_cast<uint32_t>(near_x)) * raw.channels + c;
    const uint32_t byte = Load(raw.pixels + at);
    const bool inside = near_y == from_y && near_x == from_x;
    const float value = LoadCached(raw.values + (c * 256 + (inside ? byte : 0)));
    const bool cut =
        static_cast<int32_t>(y) >= change.top && static_cast<int32_t>(y) < change.bottom &&
        static_cast<int32_t>(x) >= change.left && static_cast<int32_t>(x) < change.right;
    return cut ? 0.0F : value;
  }
};

}  // namespace

template <typename T>
void MakeImages(cudaStream_t stream, const RawImages& raw, T* images, int64_t elements) {
  LaunchEach<kInVector<T>>(stream, "images", elements, 1 + sizeof(T), Aligned16(images),
                           MakeImagesBody<T>{raw, images});
}

template void MakeImages(cudaStream_t, const RawImages&, float*, int64_t);
template void MakeImages(cudaStream_t, const RawImages&, BFloat16*, int64_t);

}  // namespace syncbn::backend::cuda::kernels
