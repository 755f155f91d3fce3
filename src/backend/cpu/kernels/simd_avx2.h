// The vectors of simd.h with AVX2 and FMA. Included by simd.h only.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace syncbn::backend::cpu::SYNCBN_ISA {

inline constexpr int kLanes = 8;
using Vec = __m256;
using VecD = __m256d;
using VecI = __m256i;
using Mask = __m256;
struct Part {
  __m256i mask;
};

inline Part FirstLanes(int64_t count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane)};
}
inline Vec Load(const float* p, Full) {
  return _mm256_loadu_ps(p);
}
inline Vec Load(const float* p, Part part) {
  return _mm256_maskload_ps(p, part.mask);
}
inline void Store(float* p, Vec v, Full) {
  _mm256_storeu_ps(p, v);
}
inline void Store(float* p, Vec v, Part part) {
  _mm256_maskstore_ps(p, part.mask, v);
}
// Past the cache, to a whole vector at an aligned place.
inline void Stream(float* p, Vec v) {
  _mm256_stream_ps(p, v);
}
inline Vec Broadcast(float v) {
  return _mm256_set1_ps(v);
}
inline Vec Add(Vec a, Vec b) {
  return _mm256_add_ps(a, b);
}
inline Vec Sub(Vec a, Vec b) {
  return _mm256_sub_ps(a, b);
}
inline Vec Mul(Vec a, Vec b) {
  return _mm256_mul_ps(a, b);
}
inline Vec Div(Vec a, Vec b) {
  return _mm256_div_ps(a, b);
}
inline Vec Sqrt(Vec a) {
  return _mm256_sqrt_ps(a);
}
inline Vec Fma(Vec a, Vec b, Vec c) {
  return _mm256_fmadd_ps(a, b, c);
}
inline Vec Max(Vec a, Vec b) {
  return _mm256_max_ps(a, b);
}
inline Vec Min(Vec a, Vec b) {
  return _mm256_min_ps(a, b);
}
inline Vec Round(Vec a) {
  return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline Vec Abs(Vec a) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
inline Vec PowerOfTwo(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
// In two factors, so that results below the normal range are reached without a wrong exponent.
inline Vec ScaleByPower(Vec a, Vec n) {
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  return _mm256_mul_ps(_mm256_mul_ps(a, PowerOfTwo(half)),
                       PowerOfTwo(_mm256_sub_epi32(whole, half)));
}
inline Mask Greater(Vec a, Vec b) {
  return _mm256_cmp_ps(a, b, _CMP_GT_OQ);
}
inline Mask IsNan(Vec a) {
  return _mm256_cmp_ps(a, a, _CMP_UNORD_Q);
}
inline Mask Either(Mask a, Mask b) {
  return _mm256_or_ps(a, b);
}
inline Vec Select(Mask mask, Vec yes, Vec no) {
  return _mm256_blendv_ps(no, yes, mask);
}
inline Vec Keep(Mask mask, Vec v) {
  asm("" : "+x"(v));
  return _mm256_and_ps(mask, v);
}

inline VecD LoadD(const double* p) {
  return _mm256_loadu_pd(p);
}
// The first and the second half of a vector's lanes.
inline VecD LoadLowD(const double* p, Full) {
  return _mm256_loadu_pd(p);
}
inline VecD LoadHighD(const double* p, Full) {
  return _mm256_loadu_pd(p + 4);
}
inline VecD LoadLowD(const double* p, Part part) {
  return _mm256_maskload_pd(p, _mm256_cvtepi32_epi64(_mm256_castsi256_si128(part.mask)));
}
inline VecD LoadHighD(const double* p, Part part) {
  return _mm256_maskload_pd(p + 4, _mm256_cvtepi32_epi64(_mm256_extracti128_si256(part.mask, 1)));
}
inline void StoreD(double* p, VecD v) {
  _mm256_storeu_pd(p, v);
}
inline VecD BroadcastD(double v) {
  return _mm256_set1_pd(v);
}
inline VecD AddD(VecD a, VecD b) {
  return _mm256_add_pd(a, b);
}
inline VecD SubD(VecD a, VecD b) {
  return _mm256_sub_pd(a, b);
}
inline VecD MulD(VecD a, VecD b) {
  return _mm256_mul_pd(a, b);
}
inline VecD DivD(VecD a, VecD b) {
  return _mm256_div_pd(a, b);
}
inline VecD FmaD(VecD a, VecD b, VecD c) {
  return _mm256_fmadd_pd(a, b, c);
}
inline VecD LowD(Vec v) {
  return _mm256_cvtps_pd(_mm256_castps256_ps128(v));
}
inline VecD HighD(Vec v) {
  return _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
}

// The two halves rounded to float.
inline Vec Narrow(VecD low, VecD high) {
  return _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low));
}

inline VecI LoadI(const int32_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline VecI BroadcastI(uint32_t v) {
  return _mm256_set1_epi32(static_cast<int>(v));
}
inline VecI AddI(VecI a, VecI b) {
  return _mm256_add_epi32(a, b);
}
inline VecI XorI(VecI a, VecI b) {
  return _mm256_xor_si256(a, b);
}
inline VecI AndI(VecI a, VecI b) {
  return _mm256_and_si256(a, b);
}
inline VecI OrI(VecI a, VecI b) {
  return _mm256_or_si256(a, b);
}
// Of 32 bits, filled with 0.
template <int kBits>
inline VecI ShiftRight(VecI a) {
  return _mm256_srli_epi32(a, kBits);
}
inline Vec ToFloat(VecI a) {
  return _mm256_cvtepi32_ps(a);
}
// The same bits.
inline VecI BitsOf(Vec a) {
  return _mm256_castps_si256(a);
}
inline Vec FromBits(VecI a) {
  return _mm256_castsi256_ps(a);
}
inline VecI MulEven(VecI a, VecI b) {
  return _mm256_mul_epu32(a, b);
}
inline VecI OddToEven(VecI a) {
  return _mm256_srli_epi64(a, 32);
}
inline VecI EvenToOdd(VecI a) {
  return _mm256_slli_epi64(a, 32);
}
inline VecI EvenOfOddOf(VecI even, VecI odd) {
  return _mm256_blend_epi32(even, odd, 0xAA);
}
inline VecI UnpackLow32(VecI a, VecI b) {
  return _mm256_unpacklo_epi32(a, b);
}
inline VecI UnpackHigh32(VecI a, VecI b) {
  return _mm256_unpackhi_epi32(a, b);
}
inline VecI UnpackLow64(VecI a, VecI b) {
  return _mm256_unpacklo_epi64(a, b);
}
inline VecI UnpackHigh64(VecI a, VecI b) {
  return _mm256_unpackhi_epi64(a, b);
}
inline Mask AtLeast(VecI a, VecI b) {
  return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_max_epu32(a, b), a));
}
inline Mask Equal(VecI a, VecI b) {
  return _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b));
}
inline VecI LoadBytes(const uint8_t* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline void StoreBytes(uint8_t* p, VecI v) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}
inline VecI SelectI(Mask mask, VecI yes, VecI no) {
  return _mm256_castps_si256(
      _mm256_blendv_ps(_mm256_castsi256_ps(no), _mm256_castsi256_ps(yes), mask));
}

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
