// The vectors of simd.h with AVX-512 (F, BW, DQ, VL). Included by simd.h only.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace syncbn::backend::cpu::SYNCBN_ISA {

inline constexpr int kLanes = 16;
using Vec = __m512;
using VecD = __m512d;
using VecI = __m512i;
using Mask = __mmask16;
struct Part {
  __mmask16 mask;
};

inline Part FirstLanes(int64_t count) {
  return {static_cast<__mmask16>((1u << count) - 1)};
}
inline Vec Load(const float* p, Full) {
  return _mm512_loadu_ps(p);
}
inline Vec Load(const float* p, Part part) {
  return _mm512_maskz_loadu_ps(part.mask, p);
}
inline void Store(float* p, Vec v, Full) {
  _mm512_storeu_ps(p, v);
}
inline void Store(float* p, Vec v, Part part) {
  _mm512_mask_storeu_ps(p, part.mask, v);
}
// Past the cache, to a whole vector at an aligned place.
inline void Stream(float* p, Vec v) {
  _mm512_stream_ps(p, v);
}
inline Vec Broadcast(float v) {
  return _mm512_set1_ps(v);
}
inline Vec Add(Vec a, Vec b) {
  return _mm512_add_ps(a, b);
}
inline Vec Sub(Vec a, Vec b) {
  return _mm512_sub_ps(a, b);
}
inline Vec Mul(Vec a, Vec b) {
  return _mm512_mul_ps(a, b);
}
inline Vec Div(Vec a, Vec b) {
  return _mm512_div_ps(a, b);
}
inline Vec Sqrt(Vec a) {
  return _mm512_sqrt_ps(a);
}
// a * b + c, rounded once.
inline Vec Fma(Vec a, Vec b, Vec c) {
  return _mm512_fmadd_ps(a, b, c);
}
// b where a is NaN, a NaN in b stays: Max(zero, x) is a ReLU that keeps NaN.
inline Vec Max(Vec a, Vec b) {
  return _mm512_max_ps(a, b);
}
inline Vec Min(Vec a, Vec b) {
  return _mm512_min_ps(a, b);
}
inline Vec Round(Vec a) {
  return _mm512_roundscale_ps(a, 8);
}
inline Vec Abs(Vec a) {
  return _mm512_abs_ps(a);
}
// 2^n * a for an integral n.
inline Vec ScaleByPower(Vec a, Vec n) {
  return _mm512_scalef_ps(a, n);
}
inline Mask Greater(Vec a, Vec b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}
inline Mask IsNan(Vec a) {
  return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
}
inline Mask Either(Mask a, Mask b) {
  return static_cast<Mask>(a | b);
}
inline Vec Select(Mask mask, Vec yes, Vec no) {
  return _mm512_mask_blend_ps(mask, no, yes);
}
// v where mask, else 0. v goes through a register: folded into a masked load, this is 3 times
// slower.
inline Vec Keep(Mask mask, Vec v) {
  asm("" : "+v"(v));
  return _mm512_maskz_mov_ps(mask, v);
}

inline VecD LoadD(const double* p) {
  return _mm512_loadu_pd(p);
}
// The first and the second half of a vector's lanes.
inline VecD LoadLowD(const double* p, Full) {
  return _mm512_loadu_pd(p);
}
inline VecD LoadHighD(const double* p, Full) {
  return _mm512_loadu_pd(p + 8);
}
inline VecD LoadLowD(const double* p, Part part) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>(part.mask), p);
}
inline VecD LoadHighD(const double* p, Part part) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>(part.mask >> 8), p + 8);
}
inline void StoreD(double* p, VecD v) {
  _mm512_storeu_pd(p, v);
}
inline VecD BroadcastD(double v) {
  return _mm512_set1_pd(v);
}
inline VecD AddD(VecD a, VecD b) {
  return _mm512_add_pd(a, b);
}
inline VecD SubD(VecD a, VecD b) {
  return _mm512_sub_pd(a, b);
}
inline VecD MulD(VecD a, VecD b) {
  return _mm512_mul_pd(a, b);
}
inline VecD DivD(VecD a, VecD b) {
  return _mm512_div_pd(a, b);
}
inline VecD FmaD(VecD a, VecD b, VecD c) {
  return _mm512_fmadd_pd(a, b, c);
}
inline VecD LowD(Vec v) {
  return _mm512_cvtps_pd(_mm512_castps512_ps256(v));
}
inline VecD HighD(Vec v) {
  return _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
}

// The two halves rounded to float.
inline Vec Narrow(VecD low, VecD high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
}

inline VecI LoadI(const int32_t* p) {
  return _mm512_loadu_si512(p);
}
inline VecI BroadcastI(uint32_t v) {
  return _mm512_set1_epi32(static_cast<int>(v));
}
inline VecI AddI(VecI a, VecI b) {
  return _mm512_add_epi32(a, b);
}
inline VecI XorI(VecI a, VecI b) {
  return _mm512_xor_si512(a, b);
}
// 64-bit products of the even 32-bit lanes; the odd lanes moved onto the even ones.
inline VecI AndI(VecI a, VecI b) {
  return _mm512_and_si512(a, b);
}
inline VecI OrI(VecI a, VecI b) {
  return _mm512_or_si512(a, b);
}
// Of 32 bits, filled with 0.
template <int kBits>
inline VecI ShiftRight(VecI a) {
  return _mm512_srli_epi32(a, kBits);
}
inline Vec ToFloat(VecI a) {
  return _mm512_cvtepi32_ps(a);
}
// The same bits.
inline VecI BitsOf(Vec a) {
  return _mm512_castps_si512(a);
}
inline Vec FromBits(VecI a) {
  return _mm512_castsi512_ps(a);
}
inline VecI MulEven(VecI a, VecI b) {
  return _mm512_mul_epu32(a, b);
}
inline VecI OddToEven(VecI a) {
  return _mm512_srli_epi64(a, 32);
}
inline VecI EvenToOdd(VecI a) {
  return _mm512_slli_epi64(a, 32);
}
inline VecI EvenOfOddOf(VecI even, VecI odd) {
  return _mm512_mask_blend_epi32(0xAAAA, even, odd);
}
inline VecI UnpackLow32(VecI a, VecI b) {
  return _mm512_unpacklo_epi32(a, b);
}
inline VecI UnpackHigh32(VecI a, VecI b) {
  return _mm512_unpackhi_epi32(a, b);
}
inline VecI UnpackLow64(VecI a, VecI b) {
  return _mm512_unpacklo_epi64(a, b);
}
inline VecI UnpackHigh64(VecI a, VecI b) {
  return _mm512_unpackhi_epi64(a, b);
}
inline Mask AtLeast(VecI a, VecI b) {
  return _mm512_cmpge_epu32_mask(a, b);
}
inline Mask Equal(VecI a, VecI b) {
  return _mm512_cmpeq_epi32_mask(a, b);
}
// kLanes bytes as 32-bit integers, and back (values below 128).
inline VecI LoadBytes(const uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline void StoreBytes(uint8_t* p, VecI v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
}
inline VecI SelectI(Mask mask, VecI yes, VecI no) {
  return _mm512_mask_blend_epi32(mask, no, yes);
}

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
