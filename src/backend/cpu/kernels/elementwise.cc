// Activations and sums: one element at a time, kLanes at once.
#include "backend/cpu/kernels/activations.h"
#include "backend/cpu/kernels/kernels.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {
namespace {

// The normal distribution function of x, and e^(-x^2/2): Phi = (1 + erf(x / sqrt 2)) / 2, by
// Cephes' erff near 0 and by its erfcf, e^(-z^2) / z times a polynomial of 1 / z^2, beyond. NaN
// stays NaN.
struct Normal {
  Vec phi, density;
};

inline Normal NormalOf(Vec x) {
  const Vec one = Broadcast(1), half = Broadcast(0.5f);
  // Further out both are 0, or 0 and 1.
  const Vec magnitude = Min(Broadcast(14.5f), Abs(x));
  const Vec square = Mul(magnitude, magnitude);
  // What rounding took from the square would show in the exponential of a large one.
  const Vec rest = Fma(magnitude, magnitude, Sub(Broadcast(0), square));
  const Vec e = Exp(Max(Broadcast(-104.0f), Mul(Broadcast(-0.5f), square)));
  const Vec density = Fma(Mul(Broadcast(-0.5f), rest), e, e);
  const Vec z = Mul(magnitude, Broadcast(0.70710678118654752f));
  const Vec q = Mul(z, z);
  Vec p = Broadcast(7.853861353153693e-5f);
  p = Fma(p, q, Broadcast(-8.010193625184903e-4f));
  p = Fma(p, q, Broadcast(5.188327685732524e-3f));
  p = Fma(p, q, Broadcast(-2.685381193529856e-2f));
  p = Fma(p, q, Broadcast(1.128358514861418e-1f));
  p = Fma(p, q, Broadcast(-3.761262582423300e-1f));
  p = Fma(p, q, Broadcast(1.128379165726710e+0f));
  const Vec near = Fma(Mul(Broadcast(-0.5f), z), p, half);  // of -|x|
  const Vec inverse = Div(one, Max(one, z));
  const Vec r = Mul(inverse, inverse);
  Vec middle = Broadcast(2.326819970068386e-2f);
  middle = Fma(middle, r, Broadcast(-1.387039388740657e-1f));
  middle = Fma(middle, r, Broadcast(3.687424674597105e-1f));
  middle = Fma(middle, r, Broadcast(-5.824733027278666e-1f));
  middle = Fma(middle, r, Broadcast(6.210004621745983e-1f));
  middle = Fma(middle, r, Broadcast(-4.944515323274145e-1f));
  middle = Fma(middle, r, Broadcast(3.404879937665872e-1f));
  middle = Fma(middle, r, Broadcast(-2.741127028184656e-1f));
  middle = Fma(middle, r, Broadcast(5.638259427386472e-1f));
  Vec far = Broadcast(-1.047766399936249e+1f);
  far = Fma(far, r, Broadcast(1.297719955372516e+1f));
  far = Fma(far, r, Broadcast(-7.495518717768503e+0f));
  far = Fma(far, r, Broadcast(2.921019019210786e+0f));
  far = Fma(far, r, Broadcast(-1.015265279202700e+0f));
  far = Fma(far, r, Broadcast(4.218463358204948e-1f));
  far = Fma(far, r, Broadcast(-2.820767439740514e-1f));
  far = Fma(far, r, Broadcast(5.641895067754075e-1f));
  const Vec tail =
      Mul(Mul(Mul(half, density), inverse), Select(Greater(Broadcast(2), z), middle, far));
  const Vec below = Select(Greater(z, one), tail, near);
  return {Select(Greater(x, Broadcast(0)), Sub(one, below), below), density};
}

}  // namespace

void Relu(const float* x, float* y, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    Store(y + i, Max(Broadcast(0), Load(x + i, lanes)), lanes);
  });
}

void Sigmoid(const float* x, float* y, int64_t count) {
  ForVectors(count,
             [&](int64_t i, auto lanes) { Store(y + i, SigmoidOf(Load(x + i, lanes)), lanes); });
}

void Tanh(const float* x, float* y, int64_t count) {
  ForVectors(count,
             [&](int64_t i, auto lanes) { Store(y + i, TanhOf(Load(x + i, lanes)), lanes); });
}

void ReluBackward(const float* y, const float* dy, float* dx, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    Store(dx + i, Keep(Greater(Load(y + i, lanes), Broadcast(0)), Load(dy + i, lanes)), lanes);
  });
}

void SigmoidBackward(const float* y, const float* dy, float* dx, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    const Vec value = Load(y + i, lanes);
    const Vec slope = Mul(value, Sub(Broadcast(1), value));
    Store(dx + i, Mul(Load(dy + i, lanes), slope), lanes);
  });
}

void TanhBackward(const float* y, const float* dy, float* dx, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    const Vec value = Load(y + i, lanes);
    const Vec slope = Fma(Sub(Broadcast(0), value), value, Broadcast(1));
    Store(dx + i, Mul(Load(dy + i, lanes), slope), lanes);
  });
}

void Gelu(const float* x, float* y, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    const Vec value = Load(x + i, lanes);
    Store(y + i, Mul(value, NormalOf(value).phi), lanes);
  });
}

// d/dx x Phi(x) = Phi(x) + x e^(-x^2/2) / sqrt(2 pi)
void GeluBackward(const float* x, const float* dy, float* dx, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    const Vec value = Load(x + i, lanes);
    const Normal normal = NormalOf(value);
    const Vec slope = Fma(Mul(value, Broadcast(0.39894228040143268f)), normal.density, normal.phi);
    Store(dx + i, Mul(Load(dy + i, lanes), slope), lanes);
  });
}

void Silu(const float* x, float* y, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    const Vec value = Load(x + i, lanes);
    Store(y + i, Mul(value, SigmoidOf(value)), lanes);
  });
}

// d/dx x s(x) = s (1 + x (1 - s)), with 1 - s = s(-x) so that no digits are lost.
void SiluBackward(const float* x, const float* dy, float* dx, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    const Vec value = Load(x + i, lanes), s = SigmoidOf(value);
    const Vec other = SigmoidOf(Sub(Broadcast(0), value));
    const Vec slope = Fma(Mul(value, other), s, s);
    Store(dx + i, Mul(Load(dy + i, lanes), slope), lanes);
  });
}

void AddArrays(const float* a, const float* b, float* sum, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    Store(sum + i, Add(Load(a + i, lanes), Load(b + i, lanes)), lanes);
  });
}

void Scale(const float* x, float factor, float* out, int64_t count) {
  ForVectors(count, [&](int64_t i, auto lanes) {
    Store(out + i, Mul(Broadcast(factor), Load(x + i, lanes)), lanes);
  });
}

void Combine(double a, const float* x, double b, const float* y, float* out, bool accumulate,
             int64_t count) {
  const VecD a_all = BroadcastD(a), b_all = BroadcastD(b);
  ForVectors(count, [&](int64_t i, auto lanes) {
    const Vec u = Load(x + i, lanes), v = Load(y + i, lanes);
    Vec value = Narrow(AddD(MulD(a_all, LowD(u)), MulD(b_all, LowD(v))),
                       AddD(MulD(a_all, HighD(u)), MulD(b_all, HighD(v))));
    if (accumulate) value = Add(value, Load(out + i, lanes));
    Store(out + i, value, lanes);
  });
}

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
