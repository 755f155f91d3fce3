#include "backend/cuda/kernels/bias.h"

#include "backend/cuda/kernels/column_sums.h"

namespace syncbn::backend::cuda::kernels {
namespace {

template <typename T>
struct AddBiasBody {
  static constexpr int kColumns = kInVector<T>;
  using Channel = float;
  struct Inputs {
    Columns<T> y;
  };
  T* y;
  const float* bias;

  SYNCBN_DEVICE Channel ChannelOf(int64_t, int64_t channel) const { return LoadCached(bias + channel); }
  template <bool kVector>
  SYNCBN_DEVICE Inputs Fetch(int64_t i, int columns) const {
    return {LoadColumns<kVector>(y + i, columns)};
  }
  template <bool kVector>
  SYNCBN_DEVICE void Write(int64_t i, int columns, const Channel* added, const Inputs& inputs) const {
    Columns<T> sum = inputs.y;
    SYNCBN_UNROLL
    for (int k = 0; k < kColumns; ++k) {
      if (kVector || k < columns) sum[k] = FromFloat<T>(ToFloat(sum[k]) + added[k]);
    }
    StoreColumns<kVector>(y + i, sum, columns);
  }
};

// Moves dy once; then what column_sums.h says.
template <typename T>
struct BiasGradientBody {
  static constexpr int kSums = 1, kColumns = kInVector<T>;
  struct Channel {};
  struct Inputs {
    Columns<T> dy;
  };
  const T* dy;
  float* gradient;
  bool accumulate;

  SYNCBN_DEVICE Channel ChannelOf(int64_t, int64_t) const { return {}; }
  template <bool kVector>
  SYNCBN_DEVICE Inputs Fetch(int64_t i, int columns) const {
    return {LoadColumns<kVector>(dy + i, columns)};
  }
  SYNCBN_DEVICE void Add(const Channel&, const Inputs& inputs, int k, double* sums) const {
    sums[0] += static_cast<double>(ToFloat(inputs.dy[k]));
  }
  SYNCBN_DEVICE void Finish(int64_t, int64_t channel, const double* sums) const {
    const double before = accumulate ? static_cast<double>(Load(gradient + channel)) : 0.0;
    Store(gradient + channel, static_cast<float>(before + sums[0]));
  }
};

}  // namespace

template <typename T>
void AddBias(cudaStream_t stream, T* y, const float* bias, int64_t rows, int64_t channels) {
  LaunchColumnEach<4>(stream, "add bias", 1, rows, channels, 2 * sizeof(T), Aligned16(y), AddBiasBody<T>{y, bias});
}

template <typename T>
int64_t BiasGradientScratch(int64_t rows, int64_t channels) {
  using Body = BiasGradientBody<T>;
  return ColumnSumScratch(MakeSumGrid(Body::kColumns, 1, rows, channels), Body::kSums);
}

template <typename T>
void BiasGradient(cudaStream_t stream, const T* dy, int64_t rows, int64_t channels, bool accumulate, float* gradient,
                  double* scratch) {
  const int64_t result_bytes = channels * int64_t{sizeof(float)} * (accumulate ? 2 : 1);
  LaunchColumnSums<4>(stream, "gradient of a bias", MakeSumGrid(BiasGradientBody<T>::kColumns, 1, rows, channels),
                      sizeof(T), result_bytes, Aligned16(dy), scratch,
                      BiasGradientBody<T>{dy, gradient, accumulate});
}

template void AddBias(cudaStream_t, float*, const float*, int64_t, int64_t);
template void AddBias(cudaStream_t, BFloat16*, const float*, int64_t, int64_t);
template int64_t BiasGradientScratch<float>(int64_t, int64_t);
template int64_t BiasGradientScratch<BFloat16>(int64_t, int64_t);
template void BiasGradient(cudaStream_t, const float*, int64_t, int64_t, bool, float*, double*);
template void BiasGradient(cudaStream_t, const BFloat16*, int64_t, int64_t, bool, float*, double*);

}  // namespace syncbn::backend::cuda::kernels
