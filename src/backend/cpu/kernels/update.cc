// What an optimizer does with flat arrays: sums for its decisions, and the updates.
#include "backend/cpu/kernels/kernels.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {

double Dot(const float* x, const float* y, int64_t count) {
  constexpr int64_t kBlock = 4096;
  double total = 0;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t size = count - begin < kBlock ? count - begin : kBlock;
    VecD sums[4] = {BroadcastD(0), BroadcastD(0), BroadcastD(0), BroadcastD(0)};
    int64_t i = begin;
    const int64_t end = begin + size;
    for (; i + 2 * kLanes <= end; i += 2 * kLanes) {
      const Vec a = Load(x + i, Full{}), b = Load(y + i, Full{});
      const Vec c = Load(x + i + kLanes, Full{}), d = Load(y + i + kLanes, Full{});
      sums[0] = FmaD(LowD(a), LowD(b), sums[0]);
      sums[1] = FmaD(HighD(a), HighD(b), sums[1]);
      sums[2] = FmaD(LowD(c), LowD(d), sums[2]);
      sums[3] = FmaD(HighD(c), HighD(d), sums[3]);
    }
    alignas(64) double lanes[kDoubleLanes];
    StoreD(lanes, AddD(AddD(sums[0], sums[1]), AddD(sums[2], sums[3])));
    double block = 0;
    for (int k = 0; k < kDoubleLanes; ++k) block += lanes[k];
    for (; i < end; ++i) block += static_cast<double>(x[i]) * static_cast<double>(y[i]);
    total += block;
  }
  return total;
}

namespace {

template <bool kMomentum>
void SgdArrays(const SgdArgs& args, const float* gradient, float* velocity, float* weight,
               int64_t count) {
  const Vec rate = Broadcast(-args.learning_rate), momentum = Broadcast(args.momentum);
  const Vec decay = Broadcast(args.decay), keep = Broadcast(args.keep);
  const Vec scale = Broadcast(args.gradient_scale);
  const bool nesterov = args.nesterov;
  ForVectors(count, [&](int64_t i, auto lanes) {
    const Vec w = Load(weight + i, lanes);
    const Vec g = Fma(decay, w, Mul(scale, Load(gradient + i, lanes)));
    Vec step = g;
    if constexpr (kMomentum) {
      const Vec v = Fma(momentum, Load(velocity + i, lanes), g);
      Store(velocity + i, v, lanes);
      step = nesterov ? Fma(momentum, v, g) : v;
    }
    Store(weight + i, Fma(rate, step, Mul(keep, w)), lanes);
  });
}

}  // namespace

void Sgd(const SgdArgs& args, const float* gradient, float* velocity, float* weight,
         int64_t count) {
  if (velocity != nullptr) {
    SgdArrays<true>(args, gradient, velocity, weight, count);
  } else {
    SgdArrays<false>(args, gradient, velocity, weight, count);
  }
}

void AdamW(const AdamWArgs& args, const float* gradient, float* mean, float* square, float* weight,
           int64_t count) {
  const Vec beta1 = Broadcast(args.beta1), rest1 = Broadcast(args.rest1);
  const Vec beta2 = Broadcast(args.beta2), rest2 = Broadcast(args.rest2);
  const Vec step = Broadcast(-args.step_size), root = Broadcast(args.root_scale);
  const Vec epsilon = Broadcast(args.epsilon), keep = Broadcast(args.keep);
  const Vec scale = Broadcast(args.gradient_scale);
  ForVectors(count, [&](int64_t i, auto lanes) {
    const Vec g = Mul(scale, Load(gradient + i, lanes));
    const Vec m = Fma(beta1, Load(mean + i, lanes), Mul(rest1, g));
    const Vec s = Fma(beta2, Load(square + i, lanes), Mul(rest2, Mul(g, g)));
    Store(mean + i, m, lanes);
    Store(square + i, s, lanes);
    const Vec direction = Div(m, Fma(root, Sqrt(s), epsilon));
    Store(weight + i, Fma(step, direction, Mul(keep, Load(weight + i, lanes))), lanes);
  });
}

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
