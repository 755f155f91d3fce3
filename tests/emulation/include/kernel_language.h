// What a kernel is written in, emulated: the same names as src/backend/cuda/nvcc/kernel_language.h, where they are
// described, with which a kernel is C++ that the CPU runs and checks.
#pragma once

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <type_traits>

#include "tensor/bfloat16.h"
#include "tests/emulation/block.h"
#include "tests/emulation/launch.h"
#include "tests/emulation/shared_memory.h"

#define SYNCBN_DEVICE inline
#define SYNCBN_HOST_DEVICE inline
#define SYNCBN_SHARED(T, name, count)           \
  static const char name##_place = 0;           \
  const ::syncbn::emulation::SharedArray<T> name = \
      ::syncbn::emulation::SharedArrayAt<T>(&name##_place, count)
#define SYNCBN_UNROLL

namespace syncbn::backend::cuda {

inline constexpr int kWarp = emulation::kWarp;

inline int Thread() { return emulation::CurrentThread().thread; }
inline int Threads() { return emulation::CurrentThread().threads; }
inline int64_t Block() { return emulation::CurrentThread().block; }
inline int64_t Blocks() { return emulation::CurrentThread().blocks; }
inline int64_t GlobalThread() { return Block() * Threads() + Thread(); }
inline int64_t GlobalThreads() { return Blocks() * Threads(); }
inline int Lane() { return Thread() % kWarp; }
inline int Warp() { return Thread() / kWarp; }

inline void Barrier() { emulation::Barrier(); }
template <typename T>
T ShuffleFrom(T value, int lane) {
  static_assert(sizeof(T) <= sizeof(uint64_t) && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = emulation::Shuffle(bits, lane >= 0 && lane < kWarp ? lane : Lane());
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
template <typename T>
T ShuffleDown(T value, int delta) {
  return ShuffleFrom(value, Lane() + delta);
}
template <typename T>
T ShuffleXor(T value, int mask) {
  return ShuffleFrom(value, Lane() ^ mask);
}

template <typename T, int N>
struct alignas(sizeof(T) * N) Vector {
  T v[N];
  T& operator[](int i) { return v[i]; }
  const T& operator[](int i) const { return v[i]; }
};
template <typename T>
T Load(const T* from) {
  emulation::CheckAligned(from, alignof(T));
  emulation::CurrentTraffic().loaded += sizeof(T);
  return *from;
}
template <typename T>
T LoadCached(const T* from) {
  emulation::CheckAligned(from, alignof(T));
  return *from;
}
template <typename T>
void Store(T* to, std::type_identity_t<T> value) {
  emulation::CheckAligned(to, alignof(T));
  emulation::CurrentTraffic().stored += sizeof(T);
  *to = value;
}
template <int N, typename T>
Vector<T, N> LoadVector(const T* from) {
  static_assert(sizeof(T) * N <= 16);
  emulation::CheckAligned(from, sizeof(T) * N);
  emulation::CurrentTraffic().loaded += sizeof(T) * N;
  Vector<T, N> value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <int N, typename T>
void StoreVector(T* to, const Vector<T, N>& value) {
  static_assert(sizeof(T) * N <= 16);
  emulation::CheckAligned(to, sizeof(T) * N);
  emulation::CurrentTraffic().stored += sizeof(T) * N;
  std::memcpy(to, &value, sizeof value);
}

inline BFloat16 ToBFloat16(float value) {
  return BFloat16(value);
}

struct LaunchShape {
  const char* name = "";
  int64_t blocks = 0;
  int threads = 256;
  int64_t bytes = 0;
};

template <typename Kernel>
constexpr int MostThreads() {
  if constexpr (requires { Kernel::kMostThreads; }) {
    return Kernel::kMostThreads;
  } else {
    return 1024;
  }
}

template <typename Kernel>
void Launch(cudaStream_t stream, const LaunchShape& shape, const Kernel& kernel) {
  // What every device takes: 4 KiB of arguments, 2^31 - 1 blocks.
  static_assert(sizeof(Kernel) <= 4096);
  if (shape.blocks == 0) return;
  if (shape.blocks > INT32_MAX) throw std::length_error("blocks of a kernel");
  if (shape.threads > MostThreads<Kernel>()) throw std::length_error("threads of a kernel");
  emulation::LaunchGrid(stream,
                        {.name = shape.name,
                         .blocks = shape.blocks,
                         .threads = shape.threads,
                         .bytes = shape.bytes,
                         .cooperative = Kernel::kCooperative},
                        [kernel] { kernel(); });
}

}  // namespace syncbn::backend::cuda
