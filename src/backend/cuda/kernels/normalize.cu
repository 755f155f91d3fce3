// The passes of a normalization over rows x channels: each of its large tensors is read or written once. Statistics
// and parameters come from a cache. Layout: columns.h, column_sums.h.
//
// With statistics in double, mean = hi + lo (hi = float(mean)), and per channel
//   scale = gamma inv_std,  shift = beta - lo scale:   y = fma(x - hi, scale, shift).
// x - hi is exact where x is near the mean, so that nothing is lost at a large mean / std; x scale + shift in float
// would be off by 8e-3 at 1e5. The same expression decides the sign of a ReLU in both directions, so the mask of the
// backward pass is the forward's to the last bit.
#include "backend/cuda/kernels/normalize.h"

#include "backend/cuda/kernels/column_sums.h"

namespace syncbn::backend::cuda::kernels {
namespace {

// Coefficients of one channel of a segment.
struct Affine {
  float center, scale, shift;
  SYNCBN_DEVICE float operator()(float x) const { return fmaf(x - center, scale, shift); }
};
// The same with what the gradient is made of, as it is in double.
struct ExactAffine {
  double mean, inv_std, gamma;
  Affine affine;
};

template <typename T>
SYNCBN_DEVICE ExactAffine AffineOf(const NormalizeArgs<T>& args, int64_t segment, int64_t channel) {
  const int64_t i = segment * args.channels + channel;
  ExactAffine of;
  of.mean = LoadCached(args.mean + i);
  of.inv_std = LoadCached(args.inv_std + i);
  of.gamma = args.gamma == nullptr ? 1.0 : static_cast<double>(LoadCached(args.gamma + channel));
  const double beta = args.beta == nullptr ? 0.0 : static_cast<double>(LoadCached(args.beta + channel));
  const double product = of.gamma * of.inv_std;
  of.affine.center = static_cast<float>(of.mean);
  of.affine.scale = static_cast<float>(product);
  of.affine.shift = static_cast<float>(beta - (of.mean - static_cast<double>(of.affine.center)) * product);
  return of;
}

// Reads x and the residual if there is one, writes y.
template <typename T>
struct NormalizeBody {
  static constexpr int kColumns = kInVector<T>;
  using Channel = Affine;
  struct Inputs {
    Columns<T> x, residual;
  };
  NormalizeArgs<T> args;
  const T* residual;
  T* y;

  SYNCBN_DEVICE Channel ChannelOf(int64_t segment, int64_t channel) const {
    return AffineOf(args, segment, channel).affine;
  }
  template <bool kVector>
  SYNCBN_DEVICE Inputs Fetch(int64_t i, int columns) const {
    Inputs inputs{LoadColumns<kVector>(args.x + i, columns), {}};
    if (residual != nullptr) inputs.residual = LoadColumns<kVector>(residual + i, columns);
    return inputs;
  }
  template <bool kVector>
  SYNCBN_DEVICE void Write(int64_t i, int columns, const Channel* channels, const Inputs& inputs) const {
    Columns<T> result;
    SYNCBN_UNROLL
    for (int k = 0; k < kColumns; ++k) {
      if (!kVector && k >= columns) continue;
      float value = channels[k](ToFloat(inputs.x[k]));
      if (residual != nullptr) value += ToFloat(inputs.residual[k]);
      result[k] = FromFloat<T>(args.relu && value <= 0 ? 0.0F : value);  // NaN stays NaN
    }
    StoreColumns<kVector>(y + i, result, columns);
  }
};

// Where the forward's ReLU let a value through.
enum class Gate { kOpen, kFromOutput, kFromInput };

template <typename T, typename Body>
void WithGate(const NormalizeArgs<T>& args, const T* y, const Body& body) {
  if (!args.relu) {
    body.template operator()<Gate::kOpen>();
  } else if (y != nullptr) {
    body.template operator()<Gate::kFromOutput>();
  } else {
    body.template operator()<Gate::kFromInput>();
  }
}

// dy where the gate is open.
template <Gate kGate>
SYNCBN_DEVICE float Gated(const Affine& affine, float x, float y, float dy) {
  if constexpr (kGate == Gate::kFromOutput) return y > 0 ? dy : 0.0F;
  if constexpr (kGate == Gate::kFromInput) return affine(x) > 0 ? dy : 0.0F;
  return dy;
}

// Reads x, dy and, where the gate is there, y. The products are of x - mean, in double.
template <Gate kGate, typename T>
struct NormalizeSumsBody {
  static constexpr int kSums = 2, kColumns = kInVector<T>;
  struct Channel {
    double mean;
    Affine affine;
  };
  struct Inputs {
    Columns<T> x, dy, y;
  };
  NormalizeArgs<T> args;
  const T* y;
  const T* dy;
  double* sum_dy;
  double* sum_dy_xhat;

  SYNCBN_DEVICE Channel ChannelOf(int64_t segment, int64_t channel) const {
    if constexpr (kGate == Gate::kFromInput) {
      const ExactAffine of = AffineOf(args, segment, channel);
      return {of.mean, of.affine};
    }
    return {LoadCached(args.mean + segment * args.channels + channel), {}};
  }
  template <bool kVector>
  SYNCBN_DEVICE Inputs Fetch(int64_t i, int columns) const {
    Inputs inputs{LoadColumns<kVector>(args.x + i, columns), LoadColumns<kVector>(dy + i, columns), {}};
    if constexpr (kGate == Gate::kFromOutput) inputs.y = LoadColumns<kVector>(y + i, columns);
    return inputs;
  }
  SYNCBN_DEVICE void Add(const Channel& channel, const Inputs& inputs, int k, double* sums) const {
    const float x = ToFloat(inputs.x[k]);
    const double g = Gated<kGate>(channel.affine, x, ToFloat(inputs.y[k]), ToFloat(inputs.dy[k]));
    sums[0] += g;
    sums[1] = fma(g, static_cast<double>(x) - channel.mean, sums[1]);
  }
  SYNCBN_DEVICE void Finish(int64_t segment, int64_t channel, const double* sums) const {
    const int64_t i = segment * args.channels + channel;
    Store(sum_dy + i, sums[0]);
    Store(sum_dy_xhat + i, sums[1] * LoadCached(args.inv_std + i));
  }
};

// The gradient of the input:
//   dx = scale (g - level) + slope (x - center) + offset, where
//   level = float(a / gamma), slope = -inv_std^2 b, offset = -inv_std (a - gamma level) - slope lo.
// In a batch norm a / gamma is the mean of g. Taken away first, it leaves nothing of itself in dx but what float does
// not hold of it, which is the offset: over a single element dx is 0, and over few the digits are those of g - mean(g),
// not of g. Where gamma is so small against a that the quotient means nothing, level is 0 and all is in the offset.
//
// Reads dy, x where it is needed, y where the gate is there; writes dx and, if it is wanted, dresidual.
template <Gate kGate, bool kStatistics, typename T>
struct NormalizeInputBody {
  static constexpr int kColumns = kInVector<T>;
  static constexpr bool kReadsX = kStatistics || kGate == Gate::kFromInput;
  struct Channel {
    Affine affine;
    float level, slope, offset;
  };
  struct Inputs {
    Columns<T> x, dy, y;
  };
  NormalizeArgs<T> args;
  NormalizeInputArgs<T> gradients;

  SYNCBN_DEVICE Channel ChannelOf(int64_t segment, int64_t channel) const {
    const ExactAffine of = AffineOf(args, segment, channel);
    Channel result{of.affine, 0, 0, 0};
    if constexpr (kStatistics) {
      constexpr float kLargestLevel = 1e30F;  // dy - level must not overflow
      const int64_t i = segment * args.channels + channel;
      const double a = LoadCached(gradients.a + i), b = LoadCached(gradients.b + i);
      const float quotient = static_cast<float>(a / of.gamma);
      result.level = fabsf(quotient) < kLargestLevel ? quotient : 0.0F;  // never NaN
      const double slope = -(of.inv_std * of.inv_std * b);
      const double left = a - of.gamma * static_cast<double>(result.level);
      const double lo = of.mean - static_cast<double>(of.affine.center);
      result.slope = static_cast<float>(slope);
      result.offset = static_cast<float>(-(of.inv_std * left) - slope * lo);
    }
    return result;
  }
  template <bool kVector>
  SYNCBN_DEVICE Inputs Fetch(int64_t i, int columns) const {
    Inputs inputs{{}, LoadColumns<kVector>(gradients.dy + i, columns), {}};
    if constexpr (kReadsX) inputs.x = LoadColumns<kVector>(args.x + i, columns);
    if constexpr (kGate == Gate::kFromOutput) inputs.y = LoadColumns<kVector>(gradients.y + i, columns);
    return inputs;
  }
  template <bool kVector>
  SYNCBN_DEVICE void Write(int64_t i, int columns, const Channel* channels, const Inputs& inputs) const {
    Columns<T> masked, dx;
    SYNCBN_UNROLL
    for (int k = 0; k < kColumns; ++k) {
      if (!kVector && k >= columns) continue;
      const Channel& channel = channels[k];
      const float x = ToFloat(inputs.x[k]);
      const float g = Gated<kGate>(channel.affine, x, ToFloat(inputs.y[k]), ToFloat(inputs.dy[k]));
      masked[k] = FromFloat<T>(g);
      if constexpr (kStatistics) {
        const float through_x = fmaf(channel.slope, x - channel.affine.center, channel.offset);
        dx[k] = FromFloat<T>(fmaf(channel.affine.scale, g - channel.level, through_x));
      } else {
        dx[k] = FromFloat<T>(channel.affine.scale * g);
      }
    }
    StoreColumns<kVector>(gradients.dx + i, dx, columns);
    if (gradients.dresidual != nullptr) StoreColumns<kVector>(gradients.dresidual + i, masked, columns);
  }
};

}  // namespace

template <typename T>
void Normalize(cudaStream_t stream, const NormalizeArgs<T>& args, const T* residual, T* y) {
  const int tensors = residual == nullptr ? 2 : 3;
  LaunchColumnEach<4>(stream, "normalize", args.segments, args.rows, args.channels, tensors * int64_t{sizeof(T)},
                      Aligned16(args.x, residual, y), NormalizeBody<T>{args, residual, y});
}

template <typename T>
int64_t NormalizeSumsScratch(int64_t segments, int64_t rows, int64_t channels) {
  return ColumnSumScratch(MakeSumGrid(kInVector<T>, segments, rows, channels), 2);
}

template <typename T>
void NormalizeSums(cudaStream_t stream, const NormalizeArgs<T>& args, const T* y, const T* dy, double* sum_dy,
                   double* sum_dy_xhat, double* scratch) {
  const ColumnGrid grid = MakeSumGrid(kInVector<T>, args.segments, args.rows, args.channels);
  const int64_t result_bytes = 2 * args.segments * args.channels * int64_t{sizeof(double)};
  WithGate(args, y, [&]<Gate kGate>() {
    const int tensors = kGate == Gate::kFromOutput ? 3 : 2;
    LaunchColumnSums<2>(stream, "normalize backward: sums", grid, tensors * int64_t{sizeof(T)}, result_bytes,
                        Aligned16(args.x, dy, kGate == Gate::kFromOutput ? y : nullptr), scratch,
                        NormalizeSumsBody<kGate, T>{args, y, dy, sum_dy, sum_dy_xhat});
  });
}

template <typename T>
void NormalizeInput(cudaStream_t stream, const NormalizeArgs<T>& args, const NormalizeInputArgs<T>& gradients) {
  WithGate(args, gradients.y, [&]<Gate kGate>() {
    const auto launch = [&]<bool kStatistics>() {
      using Body = NormalizeInputBody<kGate, kStatistics, T>;
      const bool reads_y = kGate == Gate::kFromOutput;
      const int tensors = 2 + Body::kReadsX + reads_y + (gradients.dresidual != nullptr);
      LaunchColumnEach<2>(stream, "normalize backward: input", args.segments, args.rows, args.channels,
                          tensors * int64_t{sizeof(T)},
                          Aligned16(Body::kReadsX ? args.x : nullptr, reads_y ? gradients.y : nullptr, gradients.dy,
                                    gradients.dx, gradients.dresidual),
                          Body{args, gradients});
    };
    if (gradients.a != nullptr) {
      launch.template operator()<true>();
    } else {
      launch.template operator()<false>();
    }
  });
}

template void Normalize(cudaStream_t, const NormalizeArgs<float>&, const float*, float*);
template int64_t NormalizeSumsScratch<float>(int64_t, int64_t, int64_t);
template void NormalizeSums(cudaStream_t, const NormalizeArgs<float>&, const float*, const float*, double*, double*,
                            double*);
template void NormalizeInput(cudaStream_t, const NormalizeArgs<float>&, const NormalizeInputArgs<float>&);
template void Normalize(cudaStream_t, const NormalizeArgs<BFloat16>&, const BFloat16*, BFloat16*);
template int64_t NormalizeSumsScratch<BFloat16>(int64_t, int64_t, int64_t);
template void NormalizeSums(cudaStream_t, const NormalizeArgs<BFloat16>&, const BFloat16*, const BFloat16*, double*,
                            double*, double*);
template void NormalizeInput(cudaStream_t, const NormalizeArgs<BFloat16>&, const NormalizeInputArgs<BFloat16>&);

}  // namespace syncbn::backend::cuda::kernels
