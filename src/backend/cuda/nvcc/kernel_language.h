// What a kernel is written in, on a GPU. The emulation (tests/emulation) has a header of the same name, with which
// the same kernels are C++ that runs on the CPU; which of the two is meant is decided by the include path alone.
//
// A kernel is a struct: its members are the arguments, its operator() is what one thread does.
//
//   struct AddKernel {
//     static constexpr bool kCooperative = false;       // true: it has barriers, shuffles or shared memory
//     const float* a; const float* b; float* sum; int64_t elements;
//     SYNCBN_DEVICE void operator()() const {
//       const int64_t i = GlobalThread();
//       if (i < elements) Store(sum + i, Load(a + i) + Load(b + i));
//     }
//   };
//   Launch(stream, {.name = "add", .blocks = ..., .threads = 256, .bytes = 12 * elements}, AddKernel{...});
//
// Rules, which the emulation checks:
// - Memory of the device is touched through Load, LoadVector, Store, StoreVector and, where the same few values are
//   read by many threads and so come from a cache, LoadCached. The first four are counted, and what was counted
//   must be within a tenth (and 64 bytes) of `bytes`: each input once, each output once.
// - A thread reads shared memory that another has written, or writes what another has read, only behind a barrier.
// - All threads of a block that are not over reach the same barrier; all of a warp the same shuffle; none is over
//   before a barrier of the others.
// - Blocks are in no order.
//
// Kernels are compiled with -fmad=false: a * b + c is rounded twice, as the emulation and the host do
// it, so that the same formula in double gives the same bits everywhere. fma() and fmaf() are written where they are
// meant.
//
// A kernel that is always launched with few threads says so, and may use more registers:
//   static constexpr int kMostThreads = 256;          // otherwise 1024
// and one that is slow alone on a multiprocessor says that, and gets fewer:
//   static constexpr int kLeastBlocks = 2;            // otherwise 1
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <stdexcept>
#include <type_traits>

#include "tensor/bfloat16.h"

#define SYNCBN_DEVICE __device__ __forceinline__
// Also a function of the host.
#define SYNCBN_HOST_DEVICE __host__ __device__ __forceinline__
// T name[count] shared by the threads of a block, uninitialized. In operator() of a kernel, or in a function
// template that it calls, only.
#define SYNCBN_SHARED(T, name, count) __shared__ T name[count]
// Unrolls the loop behind it.
#define SYNCBN_UNROLL _Pragma("unroll")

namespace syncbn::backend::cuda {

inline constexpr int kWarp = 32;

// -- Who am I ----------------------------------------------------------------------------------------------
SYNCBN_DEVICE int Thread() { return static_cast<int>(threadIdx.x); }
SYNCBN_DEVICE int Threads() { return static_cast<int>(blockDim.x); }
SYNCBN_DEVICE int64_t Block() { return blockIdx.x; }
SYNCBN_DEVICE int64_t Blocks() { return gridDim.x; }
SYNCBN_DEVICE int64_t GlobalThread() { return Block() * Threads() + Thread(); }
SYNCBN_DEVICE int64_t GlobalThreads() { return Blocks() * Threads(); }
SYNCBN_DEVICE int Lane() { return Thread() % kWarp; }
SYNCBN_DEVICE int Warp() { return Thread() / kWarp; }

// -- Threads of a block -------------------------------------------------------------------------------------
SYNCBN_DEVICE void Barrier() { __syncthreads(); }
// The value of the lane `delta` further on, of lane ^ mask, of `lane`. All lanes of a full warp take part; a
// lane whose source is beyond the warp gets its own.
template <typename T>
SYNCBN_DEVICE T ShuffleDown(T value, int delta) {
  return __shfl_down_sync(0xffffffffu, value, static_cast<unsigned>(delta));
}
template <typename T>
SYNCBN_DEVICE T ShuffleXor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
template <typename T>
SYNCBN_DEVICE T ShuffleFrom(T value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}

// -- Memory of the device -----------------------------------------------------------------------------------
template <typename T, int N>
struct alignas(sizeof(T) * N) Vector {
  T v[N];
  SYNCBN_HOST_DEVICE T& operator[](int i) { return v[i]; }
  SYNCBN_HOST_DEVICE const T& operator[](int i) const { return v[i]; }
};
template <typename T>
SYNCBN_DEVICE T Load(const T* from) {
  return *from;
}
template <typename T>
SYNCBN_DEVICE T LoadCached(const T* from) {
  return *from;
}
template <typename T>
SYNCBN_DEVICE void Store(T* to, T value) {
  *to = value;
}
// One access; the address is a multiple of its N * sizeof(T) bytes, at most 16.
template <int N, typename T>
SYNCBN_DEVICE Vector<T, N> LoadVector(const T* from) {
  static_assert(sizeof(T) * N <= 16);
  return *reinterpret_cast<const Vector<T, N>*>(from);
}
template <int N, typename T>
SYNCBN_DEVICE void StoreVector(T* to, const Vector<T, N>& value) {
  static_assert(sizeof(T) * N <= 16);
  // In so many words: an assignment nvcc makes a store for each element of, where it has computed them one by one.
  if constexpr (sizeof(T) * N == 16) {
    __stwb(reinterpret_cast<uint4*>(to), __builtin_bit_cast(uint4, value));
  } else if constexpr (sizeof(T) * N == 8) {
    __stwb(reinterpret_cast<uint2*>(to), __builtin_bit_cast(uint2, value));
  } else {
    *reinterpret_cast<Vector<T, N>*>(to) = value;
  }
}

// -- Numbers
// ------------------------------------------------------------------------------------------------
// BFloat16(value), in one instruction. NaN stays NaN.
SYNCBN_DEVICE BFloat16 ToBFloat16(float value) {
  BFloat16 result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
}

// -- Launching ----------------------------------------------------------------------------------------------
struct LaunchShape {
  const char* name = "";
  int64_t blocks = 0;  // 0: nothing is launched
  int threads = 256;   // at most kMostThreads; a multiple of 32 where the kernel is cooperative
  int64_t bytes = 0;   // what the kernel moves: read once, written once
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
constexpr int LeastBlocks() {
  if constexpr (requires { Kernel::kLeastBlocks; }) {
    return Kernel::kLeastBlocks;
  } else {
    return 1;
  }
}

template <typename Kernel>
__global__ void __launch_bounds__(MostThreads<Kernel>(), LeastBlocks<Kernel>()) KernelEntry(const Kernel kernel) {
  kernel();
}

// Errors are those of cudaGetLastError(), which the caller asks for.
template <typename Kernel>
void Launch(cudaStream_t stream, const LaunchShape& shape, const Kernel& kernel) {
  static_assert(std::is_same_v<decltype(Kernel::kCooperative), const bool>);
  if (shape.blocks == 0) return;
  if (shape.threads > MostThreads<Kernel>()) throw std::length_error("threads of a kernel");
  if (shape.blocks > INT32_MAX) throw std::length_error("blocks of a kernel");
  KernelEntry<<<static_cast<unsigned>(shape.blocks), static_cast<unsigned>(shape.threads), 0, stream>>>(kernel);
}

}  // namespace syncbn::backend::cuda
