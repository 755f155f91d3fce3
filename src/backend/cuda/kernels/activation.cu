#include "backend/cuda/kernels/activation.h"

#include "backend/cuda/kernels/each.h"
#include "backend/cuda/kernels/elements.h"
#include "backend/cuda/kernels/functions.h"
#include "base/unknown_value.h"

namespace syncbn::backend::cuda::kernels {
namespace {

struct Relu {
  static SYNCBN_DEVICE float Value(float x) { return x <= 0 ? 0.0f : x; }
  static SYNCBN_DEVICE float Gradient(float y, float dy) { return y > 0 ? dy : 0.0f; }
};
struct SigmoidFunction {
  static SYNCBN_DEVICE float Value(float x) { return Sigmoid(x); }
  static SYNCBN_DEVICE float Gradient(float y, float dy) { return dy * (y * (1.0f - y)); }
};
struct Tanh {
  static SYNCBN_DEVICE float Value(float x) { return std::tanh(x); }
  static SYNCBN_DEVICE float Gradient(float y, float dy) { return dy * (1.0f - y * y); }
};
// x Phi(x), Phi the distribution function of N(0, 1).
struct Gelu {
  static SYNCBN_DEVICE float Phi(float x) { return 0.5f * std::erfc(-0.70710678118654752f * x); }
  static SYNCBN_DEVICE float Value(float x) { return x * Phi(x); }
  static SYNCBN_DEVICE float Gradient(float x, float dy) {
    return dy * (Phi(x) + x * (0.39894228040143268f * std::exp(-0.5f * x * x)));
  }
};
struct Silu {
  static SYNCBN_DEVICE float Value(float x) { return x * Sigmoid(x); }
  static SYNCBN_DEVICE float Gradient(float x, float dy) {
    const float s = Sigmoid(x);
    return dy * (s * (1.0f + x * (1.0f - s)));
  }
};

// y = f(x): read and written once.
template <typename T, typename Function>
struct ForwardBody {
  const T* x;
  T* y;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    Vector<float, N> value = LoadFloats<N>(x + i);
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) value[k] = Function::Value(value[k]);
    StoreFloats(y + i, value);
  }
};

// dx = dy f'(kept): two read, one written.
template <typename T, typename Function>
struct BackwardBody {
  const T* kept;
  const T* dy;
  T* dx;
  template <int N>
  SYNCBN_DEVICE void At(int64_t i) const {
    const Vector<float, N> from = LoadFloats<N>(kept + i);
    Vector<float, N> gradient = LoadFloats<N>(dy + i);
    SYNCBN_UNROLL
    for (int k = 0; k < N; ++k) gradient[k] = Function::Gradient(from[k], gradient[k]);
    StoreFloats(dx + i, gradient);
  }
};

// Calls launch with the function of this kind.
template <typename Launch>
void ForFunction(ActivationKind kind, const Launch& launch) {
  switch (kind) {
    case ActivationKind::kRelu: return launch(Relu());
    case ActivationKind::kSigmoid: return launch(SigmoidFunction());
    case ActivationKind::kTanh: return launch(Tanh());
    case ActivationKind::kGelu: return launch(Gelu());
    case ActivationKind::kSilu: return launch(Silu());
  }
  ThrowUnknownValue("activation", static_cast<int>(kind));
}

}  // namespace

template <typename T>
void Activate(cudaStream_t stream, ActivationKind kind, const T* x, T* y, int64_t elements) {
  ForFunction(kind, [&](auto function) {
    LaunchEach<kInVector<T>>(stream, "activation", elements, 2 * sizeof(T), Aligned16(x, y),
                             ForwardBody<T, decltype(function)>{x, y});
  });
}

template <typename T>
void ActivateBackward(cudaStream_t stream, ActivationKind kind, const T* kept, const T* dy, T* dx, int64_t elements) {
  ForFunction(kind, [&](auto function) {
    LaunchEach<kInVector<T>>(stream, "gradient of an activation", elements, 3 * sizeof(T), Aligned16(kept, dy, dx),
                             BackwardBody<T, decltype(function)>{kept, dy, dx});
  });
}

template void Activate(cudaStream_t, ActivationKind, const float*, float*, int64_t);
template void Activate(cudaStream_t, ActivationKind, const BFloat16*, BFloat16*, int64_t);
template void ActivateBackward(cudaStream_t, ActivationKind, const float*, const float*, float*, int64_t);
template void ActivateBackward(cudaStream_t, ActivationKind, const BFloat16*, const BFloat16*, BFloat16*, int64_t);

}  // namespace syncbn::backend::cuda::kernels
