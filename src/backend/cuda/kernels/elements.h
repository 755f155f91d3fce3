// Elements of activations, float or BFloat16, as the floats that are computed with: widened when
// they are read, rounded once when they are written.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernel_language.h"

namespace syncbn::backend::cuda::kernels {

// Of a vector of 16 bytes.
template <typename T>
inline constexpr int kInVector = 16 / sizeof(T);

SYNCBN_DEVICE float ToFloat(float x) {
  return x;
}
SYNCBN_DEVICE float ToFloat(BFloat16 x) {
  return static_cast<float>(x);
}
template <typename T>
SYNCBN_DEVICE T FromFloat(float x) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return ToBFloat16(x);
  } else {
    return x;
  }
}

// -- As floats --------------------------------------------------------------------------------
template <typename T>
SYNCBN_DEVICE float LoadFloat(const T* from) {
  return ToFloat(Load(from));
}
template <typename T>
SYNCBN_DEVICE float LoadFloatCached(const T* from) {
  return ToFloat(LoadCached(from));
}
template <typename T>
SYNCBN_DEVICE void StoreFloat(T* to, float value) {
  Store(to, FromFloat<T>(value));
}
// One access; the address is a multiple of its bytes, at most 16.
template <int N, typename T>
SYNCBN_DEVICE Vector<float, N> LoadFloats(const T* from) {
  const Vector<T, N> values = LoadVector<N>(from);
  Vector<float, N> floats;
  SYNCBN_UNROLL
  for (int k = 0; k < N; ++k) floats[k] = ToFloat(values[k]);
  return floats;
}
template <int N, typename T>
SYNCBN_DEVICE void StoreFloats(T* to, const Vector<float, N>& floats) {
  Vector<T, N> values;
  SYNCBN_UNROLL
  for (int k = 0; k < N; ++k) values[k] = FromFloat<T>(floats[k]);
  StoreVector(to, values);
}

}  // namespace syncbn::backend::cuda::kernels
