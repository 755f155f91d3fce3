// Activations, sums and dropout: one element at a time, kLanes at once.
#include "backend/cpu/kernels/activations.h"
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

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
