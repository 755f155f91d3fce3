#include "backend/cuda/kernels/bias.h"

#include "backend/cuda/kernels/column_sums.h"

namespace syncbn::backend::cuda::kernels {
namespace {

struct AddBiasBody {
  using Channel = float;
  struct Inputs {
    Vector<float, kColumns> y;
  };
  float* y;
  const float* bias;

  SYNCBN_DEVICE Channel ChannelOf(int64_t, int64_t channel) const { return LoadCached(bias + channel); }
  template <bool kVector>
  SYNCBN_DEVICE Inputs Fetch(int64_t i, int columns) const {
    return {LoadColumns<kVector>(y + i, columns)};
  }
  template <bool kVector>
  SYNCBN_DEVICE void Write(int64_t i, int columns, const Channel* added, const Inputs& inputs) const {
    Vector<float, kColumns> sum = inputs.y;
    SYNCBN_UNROLL
    for (int k = 0; k < kColumns; ++k) {
      if (kVector || k < columns) sum[k] += added[k];
    }
    StoreColumns<kVector>(y + i, sum, columns);
  }
};

// Moves dy once; then what column_sums.h says.
struct BiasGradientBody {
  static constexpr int kSums = 1;
  struct Channel {};
  struct Inputs {
    Vector<float, kColumns> dy;
  };
  const float* dy;
  float* gradient;
  bool accumulate;

  SYNCBN_DEVICE Channel ChannelOf(int64_t, int64_t) const { return {}; }
  template <bool kVector>
  SYNCBN_DEVICE Inputs Fetch(int64_t i, int columns) const {
    return {LoadColumns<kVector>(dy + i, columns)};
  }
  SYNCBN_DEVICE void Add(const Channel&, const Inputs& inputs, int k, double* sums) const {
    sums[0] += static_cast<double>(inputs.dy[k]);
  }
  SYNCBN_DEVICE void Finish(int64_t, int64_t channel, const double* sums) const {
    const double before = accumulate ? static_cast<double>(Load(gradient + channel)) : 0.0;
    Store(gradient + channel, static_cast<float>(before + sums[0]));
  }
};

}  // namespace

void AddBias(cudaStream_t stream, float* y, const float* bias, int64_t rows, int64_t channels) {
  LaunchColumnEach<4>(stream, "add bias", 1, rows, channels, 2 * sizeof(float), Aligned16(y), AddBiasBody{y, bias});
}

int64_t BiasGradientScratch(int64_t rows, int64_t channels) {
  return ColumnSumScratch(MakeSumGrid(1, rows, channels), BiasGradientBody::kSums);
}

void BiasGradient(cudaStream_t stream, const float* dy, int64_t rows, int64_t channels, bool accumulate,
                  float* gradient, double* scratch) {
  const int64_t result_bytes = channels * int64_t{sizeof(float)} * (accumulate ? 2 : 1);
  LaunchColumnSums<4>(stream, "gradient of a bias", MakeSumGrid(1, rows, channels), sizeof(float), result_bytes,
                      Aligned16(dy), scratch, BiasGradientBody{dy, gradient, accumulate});
}

}  // namespace syncbn::backend::cuda::kernels
