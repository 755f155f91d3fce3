// Vectors of float and double under names of their own, so that a kernel is written once.
//
// The sources of this folder are compiled once for each instruction set: SYNCBN_ISA is then `avx2`
// or `avx512`, the name of the namespace that keeps the two apart. Nothing here or in the kernels
// may use inline functions of the standard library or of the rest of syncbn: the linker keeps one
// copy of such a function for the whole program, and it could be the one with instructions that the
// machine does not have.
//
// A Part is the leading lanes of a vector: loads of a Part neither read nor fault beyond it (the
// other lanes are 0), stores leave the rest of memory alone. Full stands for all lanes.
#pragma once

#include <cstdint>

#ifndef SYNCBN_ISA
#error "kernels are compiled through src/backend/cpu/CMakeLists.txt, which defines SYNCBN_ISA"
#endif

namespace syncbn::backend::cpu::SYNCBN_ISA {
// All lanes.
struct Full {};
}  // namespace syncbn::backend::cpu::SYNCBN_ISA

#if defined(__AVX512F__)
#include "backend/cpu/kernels/simd_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__)
#include "backend/cpu/kernels/simd_avx2.h"
#else
#error "kernels need AVX2 with FMA, or AVX-512"
#endif

namespace syncbn::backend::cpu::SYNCBN_ISA {

inline constexpr int kDoubleLanes = kLanes / 2;

// Asks for the line 8 KB further on to come into L2: worth its instruction only where data comes
// from memory, where the processor alone does not look that far ahead.
inline void PrefetchAhead(const float* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p) + 8192, _MM_HINT_T1);
}
// Larger arrays are taken to come from memory. Larger results are written past the cache: a line that
// is stored to is otherwise read first and written out later, three transfers for what can be two,
// and nothing so large would wait in the cache for whoever reads it next. (With that next read
// measured too, 1.3 to 1.7 times as fast on a Xeon, from 4 MiB on even; the caches of others are
// larger and quicker.)
inline constexpr int64_t kFarBytes = int64_t{16} << 20;

// Of what is read on the way: where stores take no lines, two kilobytes ahead suffice.
inline void PrefetchNear(const float* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p) + 2048, _MM_HINT_T0);
}

// Streamed results are there for other threads after it.
inline void StreamFence() {
  _mm_sfence();
}

// body(offset, lanes) for consecutive vectors of `count` elements, the last one a Part.
template <typename Body>
inline void ForVectors(int64_t count, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body(i, Full{});
  if (i < count) body(i, FirstLanes(count - i));
}

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
