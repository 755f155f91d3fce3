// The passes of a normalization over rows x channels.
//
// With statistics in double, mean = hi + lo (hi = float(mean)), and per channel
//   scale = gamma * inv_std,  shift = beta - lo * scale:   y = fma(x - hi, scale, shift).
// x - hi is exact where x is near the mean, so that nothing is lost at a large mean / std; x *
// scale + shift in float would be off by 8e-3 at 1e5. The same expression decides the sign of a
// ReLU in both directions, so the mask of the backward pass is the forward's to the last bit.
#include "backend/cpu/kernels/grid.h"
#include "backend/cpu/kernels/kernels.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {
namespace {

// Coefficients of one segment, over a wide row.
struct Affine {
  float* center;
  float* scale;
  float* shift;

  Affine(Scratch& scratch, int64_t width)
      : center(scratch.Floats(width)), scale(scratch.Floats(width)), shift(scratch.Floats(width)) {}

  void Set(const NormalizeArgs& args, const Grid& grid, int64_t segment) {
    const double* mean = args.mean + segment * grid.channels;
    const double* inv_std = args.inv_std + segment * grid.channels;
    for (int64_t c = 0; c < grid.channels; ++c) {
      const float hi = static_cast<float>(mean[c]);
      const double lo = mean[c] - static_cast<double>(hi);
      const double product = (args.gamma == nullptr ? 1.0 : args.gamma[c]) * inv_std[c];
      center[c] = hi;
      scale[c] = static_cast<float>(product);
      shift[c] = static_cast<float>((args.beta == nullptr ? 0.0 : args.beta[c]) - lo * product);
    }
    Repeat(grid, center);
    Repeat(grid, scale);
    Repeat(grid, shift);
  }
};

// Where the results go: into the cache, or past it.
template <bool kStream>
inline void Put(float* p, Vec v, Full lanes) {
  if constexpr (kStream) {
    Stream(p, v);
  } else {
    Store(p, v, lanes);
  }
}
template <bool kStream>
inline void Put(float* p, Vec v, Part lanes) {
  Store(p, v, lanes);
}

bool IsAligned(const float* p) { return reinterpret_cast<uintptr_t>(p) % (kLanes * 4) == 0; }

// The result is large, and its whole vectors are all at aligned places.
bool Streams(const Segments& layout, const float* result) {
  const int64_t size = layout.rows * layout.channels;
  return layout.segments * size * 4 >= kFarBytes && IsAligned(result) &&
         (layout.segments == 1 || size % kLanes == 0) &&
         MakeGrid(layout.rows, layout.channels).width % kLanes == 0;
}

template <bool kRelu, bool kResidual, bool kStream>
void NormalizeSegments(const NormalizeArgs& args, const float* residual, float* y, void* memory) {
  const Grid grid = MakeGrid(args.layout.rows, args.layout.channels);
  Scratch scratch(memory);
  Affine affine(scratch, grid.width);
  const int64_t size = args.layout.rows * args.layout.channels;
  for (int64_t s = 0; s < args.layout.segments; ++s) {
    affine.Set(args, grid, s);
    const float* in = args.x + s * size;
    const float* add = kResidual ? residual + s * size : nullptr;
    float* out = y + s * size;
    Sweep(grid, [&](auto n, int64_t at, int64_t column, auto lanes) {
      const Vec center = Load(affine.center + column, lanes);
      const Vec scale = Load(affine.scale + column, lanes);
      const Vec shift = Load(affine.shift + column, lanes);
      for (int r = 0; r < n.kValue; ++r) {
        const int64_t i = at + r * grid.width;
        if constexpr (kStream) {
          PrefetchNear(in + i);
          if constexpr (kResidual) PrefetchNear(add + i);
        }
        Vec value = Fma(Sub(Load(in + i, lanes), center), scale, shift);
        if constexpr (kResidual) value = Add(value, Load(add + i, lanes));
        if constexpr (kRelu) value = Max(Broadcast(0), value);
        Put<kStream>(out + i, value, lanes);
      }
    });
  }
  if constexpr (kStream) StreamFence();
}

// body with the flags as template arguments.
template <bool... kFlags, typename Body>
void WithFlags(Body body) {
  body.template operator()<kFlags...>();
}
template <bool... kFlags, typename Body, typename... More>
void WithFlags(Body body, bool flag, More... more) {
  if (flag) {
    WithFlags<kFlags..., true>(body, more...);
  } else {
    WithFlags<kFlags..., false>(body, more...);
  }
}

// Where the forward's ReLU let a value through.
enum class Gate { kOpen, kFromOutput, kFromInput };

template <typename Body>
void WithGate(const NormalizeArgs& args, const float* y, Body body) {
  if (!args.relu) {
    body.template operator()<Gate::kOpen>();
  } else if (y != nullptr) {
    body.template operator()<Gate::kFromOutput>();
  } else {
    body.template operator()<Gate::kFromInput>();
  }
}

template <Gate kGate, bool kFar>
void SumSegments(const NormalizeArgs& args, const float* y, const float* dy, double* sum_dy,
                 double* sum_dy_xhat, void* memory) {
  const Grid grid = MakeGrid(args.layout.rows, args.layout.channels);
  Scratch scratch(memory);
  Affine affine(scratch, grid.width);
  Totals<2> totals(scratch, grid.width);
  const int64_t size = args.layout.rows * args.layout.channels;
  for (int64_t s = 0; s < args.layout.segments; ++s) {
    affine.Set(args, grid, s);
    const float* in = args.x + s * size;
    const float* gradient = dy + s * size;
    const float* out = kGate == Gate::kFromOutput ? y + s * size : nullptr;
    totals.Run(grid, args.layout.features,
               [&](auto n, int64_t at, int64_t column, auto lanes, Vec* sums) {
                 const Vec center = Load(affine.center + column, lanes);
                 Vec scale{}, shift{};
                 if constexpr (kGate == Gate::kFromInput) {
                   scale = Load(affine.scale + column, lanes);
                   shift = Load(affine.shift + column, lanes);
                 }
                 Vec sum = Broadcast(0), product = Broadcast(0);
                 for (int r = 0; r < n.kValue; ++r) {
                   const int64_t i = at + r * grid.width;
                   if constexpr (kFar) {
                     PrefetchAhead(in + i);
                     PrefetchAhead(gradient + i);
                   }
                   const Vec centered = Sub(Load(in + i, lanes), center);
                   Vec g = Load(gradient + i, lanes);
                   if constexpr (kGate == Gate::kFromOutput) {
                     g = Keep(Greater(Load(out + i, lanes), Broadcast(0)), g);
                   } else if constexpr (kGate == Gate::kFromInput) {
                     g = Keep(Greater(Fma(centered, scale, shift), Broadcast(0)), g);
                   }
                   sum = Add(sum, g);
                   product = Fma(g, centered, product);
                 }
                 sums[0] = sum;
                 sums[1] = product;
               });
    for (int64_t c = 0; c < grid.channels; ++c) {
      const int64_t i = s * grid.channels + c;
      const double lo = args.mean[i] - static_cast<double>(affine.center[c]);
      sum_dy[i] = totals.total[0][c];
      sum_dy_xhat[i] = (totals.total[1][c] - lo * totals.total[0][c]) * args.inv_std[i];
    }
  }
}

// Coefficients of the gradient of the input:
//   dx = scale * (dy - level) + slope * (x - center) + offset, where
//   level = float(a / gamma), slope = -inv_std^2 b, offset = -inv_std (a - gamma level) - slope lo.
// In a batch norm a / gamma is the mean of dy. Taken away first, it leaves nothing of itself in dx
// but what float does not hold of it, which is the offset: over a single element dx is 0, and over
// few the digits are those of dy - mean(dy), not of dy. (An offset of -inv_std a in float would
// leave 6e-8 inv_std |mean(dy)|.) Where gamma is so small against a that the quotient means
// nothing, level is 0 and all is in the offset.
struct InputTerms {
  float* level;
  float* slope;
  float* offset;

  InputTerms(Scratch& scratch, int64_t width)
      : level(scratch.Floats(width)), slope(scratch.Floats(width)), offset(scratch.Floats(width)) {}

  // In vectors of channels: over few rows this is most of the work.
  void Set(const NormalizeArgs& args, const NormalizeInputArgs& gradients, const Grid& grid,
           const Affine& affine, int64_t segment) {
    const int64_t first = segment * grid.channels;
    const double* const given[4] = {args.mean + first, args.inv_std + first, gradients.a + first,
                                    gradients.b + first};
    ForVectors(grid.channels, [&](int64_t c, auto lanes) {
      const Vec gamma = args.gamma == nullptr ? Broadcast(1) : Load(args.gamma + c, lanes);
      VecD low[4], high[4];
      for (int i = 0; i < 4; ++i) {
        low[i] = LoadLowD(given[i] + c, lanes);
        high[i] = LoadHighD(given[i] + c, lanes);
      }
      const Vec center = Load(affine.center + c, lanes);
      const Vec quotient = Narrow(DivD(low[2], LowD(gamma)), DivD(high[2], HighD(gamma)));
      const Vec taken =
          Keep(Greater(Broadcast(kLargestLevel), Abs(quotient)), quotient);  // never NaN
      const Half a = HalfOf(low, LowD(gamma), LowD(center), LowD(taken));
      const Half b = HalfOf(high, HighD(gamma), HighD(center), HighD(taken));
      Store(level + c, taken, lanes);
      Store(slope + c, Narrow(a.slope, b.slope), lanes);
      Store(offset + c, Narrow(a.offset, b.offset), lanes);
    });
    Repeat(grid, level);
    Repeat(grid, slope);
    Repeat(grid, offset);
  }

 private:
  struct Half {
    VecD slope, offset;
  };
  // given: mean, inv_std, a, b
  static Half HalfOf(const VecD given[4], VecD gamma, VecD center, VecD level) {
    const VecD zero = BroadcastD(0), lo = SubD(given[0], center);
    const VecD slope = SubD(zero, MulD(MulD(given[1], given[1]), given[3]));
    const VecD left = SubD(given[2], MulD(gamma, level));
    return {slope, SubD(SubD(zero, MulD(given[1], left)), MulD(slope, lo))};
  }
  // dy - level must not overflow.
  static constexpr float kLargestLevel = 1e30f;
};

template <Gate kGate, bool kStatistics, bool kResidual, bool kStream>
void InputSegments(const NormalizeArgs& args, const NormalizeInputArgs& gradients, void* memory) {
  const Grid grid = MakeGrid(args.layout.rows, args.layout.channels);
  Scratch scratch(memory);
  Affine affine(scratch, grid.width);
  InputTerms terms(scratch, grid.width);
  const int64_t size = args.layout.rows * args.layout.channels;
  for (int64_t s = 0; s < args.layout.segments; ++s) {
    affine.Set(args, grid, s);
    if constexpr (kStatistics) terms.Set(args, gradients, grid, affine, s);
    const float* in = args.x + s * size;
    const float* out = kGate == Gate::kFromOutput ? gradients.y + s * size : nullptr;
    const float* dy = gradients.dy + s * size;
    float* dx = gradients.dx + s * size;
    float* dresidual = kResidual ? gradients.dresidual + s * size : nullptr;
    Sweep(grid, [&](auto n, int64_t at, int64_t column, auto lanes) {
      const Vec center = Load(affine.center + column, lanes);
      const Vec scale = Load(affine.scale + column, lanes);
      Vec shift{}, level{}, k{}, m{};
      if constexpr (kGate == Gate::kFromInput) shift = Load(affine.shift + column, lanes);
      if constexpr (kStatistics) {
        level = Load(terms.level + column, lanes);
        k = Load(terms.slope + column, lanes);
        m = Load(terms.offset + column, lanes);
      }
      for (int r = 0; r < n.kValue; ++r) {
        const int64_t i = at + r * grid.width;
        if constexpr (kStream) {
          PrefetchNear(dy + i);
          if constexpr (kStatistics || kGate == Gate::kFromInput) PrefetchNear(in + i);
          if constexpr (kGate == Gate::kFromOutput) PrefetchNear(out + i);
        }
        Vec g = Load(dy + i, lanes);
        Vec centered{};
        if constexpr (kStatistics || kGate == Gate::kFromInput) {
          centered = Sub(Load(in + i, lanes), center);
        }
        if constexpr (kGate == Gate::kFromOutput) {
          g = Keep(Greater(Load(out + i, lanes), Broadcast(0)), g);
        } else if constexpr (kGate == Gate::kFromInput) {
          g = Keep(Greater(Fma(centered, scale, shift), Broadcast(0)), g);
        }
        if constexpr (kResidual) Put<kStream>(dresidual + i, g, lanes);
        if constexpr (kStatistics) {
          g = Fma(scale, Sub(g, level), Fma(k, centered, m));
        } else {
          g = Mul(scale, g);
        }
        Put<kStream>(dx + i, g, lanes);
      }
    });
  }
  if constexpr (kStream) StreamFence();
}

}  // namespace

void Normalize(const NormalizeArgs& args, const float* residual, float* y, void* scratch) {
  WithFlags(
      [&]<bool kRelu, bool kResidual, bool kStream>() {
        NormalizeSegments<kRelu, kResidual, kStream>(args, residual, y, scratch);
      },
      args.relu, residual != nullptr, Streams(args.layout, y));
}

void NormalizeSums(const NormalizeArgs& args, const float* y, const float* dy, double* sum_dy,
                   double* sum_dy_xhat, void* scratch) {
  const bool from_memory = 2 * args.layout.rows * args.layout.channels * 4 >= kFarBytes;
  WithGate(args, y, [&]<Gate kGate>() {
    if (from_memory) {
      SumSegments<kGate, true>(args, y, dy, sum_dy, sum_dy_xhat, scratch);
    } else {
      SumSegments<kGate, false>(args, y, dy, sum_dy, sum_dy_xhat, scratch);
    }
  });
}

void NormalizeInput(const NormalizeArgs& args, const NormalizeInputArgs& gradients, void* scratch) {
  const bool residual = gradients.dresidual != nullptr;
  // Lines of dy that dx takes the place of are in the cache already.
  const bool stream = gradients.dx != gradients.dy && Streams(args.layout, gradients.dx) &&
                      (!residual || IsAligned(gradients.dresidual));
  WithGate(args, gradients.y, [&]<Gate kGate>() {
    WithFlags(
        [&]<bool kStatistics, bool kResidual, bool kStream>() {
          InputSegments<kGate, kStatistics, kResidual, kStream>(args, gradients, scratch);
        },
        gradients.a != nullptr, residual, stream);
  });
}

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
