// What is drawn for each element: dropout and noise.
#include "backend/cpu/kernels/kernels.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {
namespace {

struct Products {
  VecI low, high;
};

inline Products Multiply(VecI a, VecI multiplier) {
  const VecI even = MulEven(a, multiplier), odd = MulEven(OddToEven(a), multiplier);
  return {EvenOfOddOf(even, EvenToOdd(odd)), EvenOfOddOf(OddToEven(even), odd)};
}

// Philox4x32-10 (base/rng.h) for kLanes counters {block, 0, 0, 0}; words[k] are the kLanes random
// words from element 4 first_block + k kLanes on.
inline void PhiloxWords(uint64_t key, uint32_t first_block, VecI words[4]) {
  // The words of a block end up in one 128-bit group of the unpacking below; counting in this order
  // puts the groups of a vector side by side.
  alignas(64) int32_t counters[kLanes];
  for (int group = 0; group < kLanes / 4; ++group) {
    for (int k = 0; k < 4; ++k) {
      counters[4 * group + k] =
          static_cast<int32_t>(first_block + static_cast<uint32_t>(kLanes / 4 * k + group));
    }
  }
  const VecI multiplier0 = BroadcastI(0xD2511F53u), multiplier1 = BroadcastI(0xCD9E8D57u);
  VecI c0 = LoadI(counters), c1 = BroadcastI(0), c2 = c1, c3 = c1;
  uint32_t key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const Products p0 = Multiply(c0, multiplier0), p1 = Multiply(c2, multiplier1);
    c0 = XorI(XorI(p1.high, c1), BroadcastI(key0));
    c2 = XorI(XorI(p0.high, c3), BroadcastI(key1));
    c1 = p1.low;
    c3 = p0.low;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  const VecI low01 = UnpackLow32(c0, c1), high01 = UnpackHigh32(c0, c1);
  const VecI low23 = UnpackLow32(c2, c3), high23 = UnpackHigh32(c2, c3);
  words[0] = UnpackLow64(low01, low23);
  words[1] = UnpackHigh64(low01, low23);
  words[2] = UnpackLow64(high01, high23);
  words[3] = UnpackHigh64(high01, high23);
}

// A vector of a batch of Philox words.
constexpr int kBatch = 4 * kLanes;

// ln u for normal u in (0, 1]: u = 2^n m with m around 1, Cephes' logf.
inline Vec LogOf(Vec u) {
  const Vec one = Broadcast(1);
  const VecI bits = BitsOf(u);
  const Vec exponent = Sub(ToFloat(ShiftRight<23>(bits)), Broadcast(126));
  // In [1/2, 1).
  const Vec half = FromBits(OrI(AndI(bits, BroadcastI(0x007fffffu)), BroadcastI(0x3f000000u)));
  const auto small = Greater(Broadcast(0.707106781186547524f), half);
  const Vec n = Select(small, Sub(exponent, one), exponent);
  const Vec f = Sub(Select(small, Add(half, half), half), one);
  const Vec z = Mul(f, f);
  Vec p = Broadcast(7.0376836292e-2f);
  p = Fma(p, f, Broadcast(-1.1514610310e-1f));
  p = Fma(p, f, Broadcast(1.1676998740e-1f));
  p = Fma(p, f, Broadcast(-1.2420140846e-1f));
  p = Fma(p, f, Broadcast(1.4249322787e-1f));
  p = Fma(p, f, Broadcast(-1.6668057665e-1f));
  p = Fma(p, f, Broadcast(2.0000714765e-1f));
  p = Fma(p, f, Broadcast(-2.4999993993e-1f));
  p = Fma(p, f, Broadcast(3.3333331174e-1f));
  Vec rest = Fma(Mul(f, z), p, Mul(n, Broadcast(-2.12194440e-4f)));
  rest = Fma(Broadcast(-0.5f), z, rest);
  return Fma(n, Broadcast(0.693359375f), Add(f, rest));
}

// cos(2 pi t) for t in [0, 1): within an eighth of a turn of the next quarter, Cephes' sinf and
// cosf.
inline Vec CosOfTurns(Vec t) {
  const Vec zero = Broadcast(0);
  const Vec quarter = Round(Mul(Broadcast(4), t));
  const Vec a = Mul(Fma(quarter, Broadcast(-0.25f), t), Broadcast(6.28318530717958648f));
  const Vec z = Mul(a, a);
  Vec s = Broadcast(-1.9515295891e-4f);
  s = Fma(s, z, Broadcast(8.3321608736e-3f));
  s = Fma(s, z, Broadcast(-1.6666654611e-1f));
  s = Fma(Mul(s, z), a, a);
  Vec c = Broadcast(2.443315711809948e-5f);
  c = Fma(c, z, Broadcast(-1.388731625493765e-3f));
  c = Fma(c, z, Broadcast(4.166664568298827e-2f));
  c = Fma(Mul(c, z), z, Fma(Broadcast(-0.5f), z, Broadcast(1)));
  const Vec second = Select(Greater(Broadcast(1.5f), quarter), Sub(zero, s), Sub(zero, c));
  const Vec fourth = Select(Greater(Broadcast(3.5f), quarter), s, c);
  return Select(Greater(Broadcast(0.5f), quarter), c,
                Select(Greater(Broadcast(2.5f), quarter), second, fourth));
}

}  // namespace

void Dropout(uint64_t key, uint64_t threshold, float scale, const float* x, float* y,
             int64_t count) {
  const bool none = threshold > 0xffffffffu;
  const VecI least = BroadcastI(static_cast<uint32_t>(threshold));
  const Vec kept = Broadcast(none ? 0 : scale), dropped = Broadcast(0);
  for (int64_t base = 0; base < count; base += 4 * kLanes) {
    VecI words[4];
    PhiloxWords(key, static_cast<uint32_t>(base / 4), words);
    const int64_t left = count - base < 4 * kLanes ? count - base : 4 * kLanes;
    ForVectors(left, [&](int64_t i, auto lanes) {
      const Vec factor = Select(AtLeast(words[i / kLanes], least), kept, dropped);
      Store(y + base + i, Mul(Load(x + base + i, lanes), factor), lanes);
    });
  }
}

void Noise(const NoiseArgs& args, const float* x, float* y, int64_t count) {
  alignas(64) float uniform[kBatch], normal[kBatch];
  int64_t channel = 0;
  for (int64_t base = 0; base < count; base += kBatch) {
    VecI m[4], radius[4], angle[4];
    const uint32_t block = static_cast<uint32_t>(base / 4);
    if (args.shifted) PhiloxWords(args.keys[0], block, m);
    PhiloxWords(args.keys[1], block, radius);
    PhiloxWords(args.keys[2], block, angle);
    for (int k = 0; k < 4; ++k) {
      // 23 and 24 bits: all these are exact.
      const Vec u =
          Mul(Add(ToFloat(ShiftRight<9>(radius[k])), Broadcast(0.5f)), Broadcast(0x1p-23f));
      const Vec t = Mul(ToFloat(ShiftRight<8>(angle[k])), Broadcast(0x1p-24f));
      const Vec length = Sqrt(Mul(Broadcast(-2), LogOf(u)));
      Store(normal + k * kLanes, Mul(length, CosOfTurns(t)), Full());
      if (!args.shifted) continue;
      const Vec v = Mul(ToFloat(ShiftRight<8>(m[k])), Broadcast(0x1p-23f));
      Store(uniform + k * kLanes, Sub(v, Broadcast(1)), Full());
    }
    const int64_t left = count - base < kBatch ? count - base : kBatch;
    for (int64_t j = 0; j < left; ++j) {
      const float s = args.sigma[channel] + args.spread * normal[j];
      const float value = s * x[base + j];
      y[base + j] = args.shifted ? value + (args.mu[channel] + args.spread * uniform[j]) : value;
      if (++channel == args.channels) channel = 0;
    }
  }
}

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
