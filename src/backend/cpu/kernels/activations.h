// Exponential, sigmoid and tanh of a vector's lanes.
#pragma once

#include "backend/cpu/kernels/simd.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {

// e^x for x in [-104, 88], within 1.1 ulp where the result is normal: x = n ln 2 + r, Taylor-like
// polynomial of e^r (coefficients of Cephes' expf), scaled by 2^n. NaN stays NaN.
inline Vec Exp(Vec x) {
  const Vec n = Round(Mul(x, Broadcast(1.44269504088896341f)));
  Vec r = Fma(n, Broadcast(-0.693359375f), x);
  r = Fma(n, Broadcast(2.12194440e-4f), r);
  Vec p = Broadcast(1.9875691500e-4f);
  p = Fma(p, r, Broadcast(1.3981999507e-3f));
  p = Fma(p, r, Broadcast(8.3334519073e-3f));
  p = Fma(p, r, Broadcast(4.1665795894e-2f));
  p = Fma(p, r, Broadcast(1.6666665459e-1f));
  p = Fma(p, r, Broadcast(5.0000001201e-1f));
  p = Add(Fma(p, Mul(r, r), r), Broadcast(1.0f));
  return ScaleByPower(p, n);
}

// 1 / (1 + e^-x), from e^-|x| so that nothing overflows and small results keep their digits.
inline Vec SigmoidOf(Vec x) {
  const Vec zero = Broadcast(0), one = Broadcast(1);
  const Vec e = Exp(Max(Broadcast(-104.0f), Sub(zero, Abs(x))));
  return Div(Select(Greater(zero, x), e, one), Add(one, e));
}

// Cephes' tanhf: an odd polynomial below 0.625, 1 - 2 / (e^2|x| + 1) above.
inline Vec TanhOf(Vec x) {
  const Vec zero = Broadcast(0), one = Broadcast(1), magnitude = Abs(x);
  const Vec z = Mul(x, x);
  Vec p = Broadcast(-5.70498872745e-3f);
  p = Fma(p, z, Broadcast(2.06390887954e-2f));
  p = Fma(p, z, Broadcast(-5.37397155531e-2f));
  p = Fma(p, z, Broadcast(1.33314422036e-1f));
  p = Fma(p, z, Broadcast(-3.33332819422e-1f));
  const Vec small = Fma(Mul(p, z), x, x);
  const Vec capped = Min(Broadcast(20.0f), magnitude);
  const Vec large = Sub(one, Div(Broadcast(2.0f), Add(Exp(Add(capped, capped)), one)));
  return Select(Greater(Broadcast(0.625f), magnitude), small,
                Select(Greater(zero, x), Sub(zero, large), large));
}

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
