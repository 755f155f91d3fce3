#include "backend/cuda/kernels/loss.h"

#include <cmath>
#include <limits>

#include "backend/cuda/kernels/block_sum.h"
#include "backend/cuda/kernels/each.h"
#include "backend/cuda/kernels/elements.h"

namespace syncbn::backend::cuda::kernels {
namespace {

constexpr int kLossThreads = 128;
constexpr int kSumThreads = 256;
constexpr float kLeast = -std::numeric_limits<float>::infinity();
constexpr int32_t kNoPlace = std::numeric_limits<int32_t>::max();
constexpr double kNotANumber = std::numeric_limits<double>::quiet_NaN();

// With m the largest z of a sample and t_c = (c is the label ? 1 - smoothing : 0) + smoothing /
// classes, in double:
//   loss = log sum exp(z_c - m) - sum t_c (z_c - m);  dz_c = scale (exp(z_c - m) / sum exp(z - m) -
//   t_c)
// A warp for each sample, lane l with its classes l, l + 32 .. : neighbouring lanes read
// neighbours, and no alignment is asked for. Each lane keeps its logits in shared memory, up to
// kHeld of a sample; with kHeld = 0 for any number, of which the second and third look go to the
// cache. Moved: the logits once and, if wanted, the gradient; 16 bytes a sample.
template <int kHeld, typename T>
struct LossKernel {
  static constexpr bool kCooperative = true;
  LossArguments<T> a;

  SYNCBN_DEVICE void operator()() const {
    const int64_t sample = Block() * (kLossThreads / kWarp) + Warp();
    if (sample >= a.samples) return;  // a whole warp
    const T* const z = a.logits + sample * a.classes;
    const int32_t label = LoadCached(a.labels + sample);

    SYNCBN_SHARED(float, held, (kHeld > 0 ? kHeld : 1) * (kLossThreads / kWarp));
    const auto at = [&](int64_t c) -> float {
      if constexpr (kHeld > 0) {
        return held[Warp() * kHeld + c];
      } else {
        return LoadFloatCached(z + c);
      }
    };
    float most = kLeast;
    int32_t place = kNoPlace;
    for (int64_t c = Lane(); c < a.classes; c += kWarp) {
      const float value = LoadFloat(z + c);
      if constexpr (kHeld > 0) held[Warp() * kHeld + c] = value;
      if (value > most || place == kNoPlace) {
        most = value;
        place = static_cast<int32_t>(c);
      }
    }
    SYNCBN_UNROLL
    for (int mask = kWarp / 2; mask > 0; mask /= 2) {
      const float other = ShuffleXor(most, mask);
      const int32_t other_place = ShuffleXor(place, mask);
      if (other > most || (other == most && other_place < place)) {
        most = other;
        place = other_place;
      }
    }

    const double largest = static_cast<double>(ShuffleFrom(most, 0));
    const double everywhere = a.smoothing / static_cast<double>(a.classes);
    double sum = 0, weighted = 0;
    for (int64_t c = Lane(); c < a.classes; c += kWarp) {
      const double shifted = static_cast<double>(at(c)) - largest;
      sum += exp(shifted);
      weighted += (c == label ? 1 - a.smoothing + everywhere : everywhere) * shifted;
    }
    sum = WarpSum(sum);
    weighted = WarpSum(weighted);

    const bool known = 0 <= label && label < a.classes;
    if (Lane() == 0) {
      Store(a.losses + sample, known ? log(sum) - weighted : kNotANumber);
      Store(a.correct + sample, place == label ? 1.0 : 0.0);
    }
    if (a.dlogits == nullptr) return;
    const double share = known ? 1 / sum : kNotANumber;
    for (int64_t c = Lane(); c < a.classes; c += kWarp) {
      const double shifted = static_cast<double>(at(c)) - largest;
      const double target = (c == label ? 1 - a.smoothing : 0) + everywhere;
      StoreFloat(a.dlogits + sample * a.classes + c,
                 static_cast<float>(a.scale * (exp(shifted) * share - target)));
    }
  }
};

// One block: its threads bring values, the first adds them in their order. Moved: the values, and
// the total there and back.
struct AddSumKernel {
  static constexpr bool kCooperative = true;
  const double* values;
  double* total;
  int64_t elements;

  SYNCBN_DEVICE void operator()() const {
    SYNCBN_SHARED(double, some, kSumThreads);
    double sum = Thread() == 0 ? Load(total) : 0;
    for (int64_t begin = 0; begin < elements; begin += kSumThreads) {
      if (begin + Thread() < elements) some[Thread()] = Load(values + begin + Thread());
      Barrier();
      if (Thread() == 0) {
        const int64_t left = elements - begin;
        const int count = left < kSumThreads ? static_cast<int>(left) : kSumThreads;
        for (int i = 0; i < count; ++i) sum += some[i];
      }
      Barrier();
    }
    if (Thread() == 0) Store(total, sum);
  }
};

}  // namespace

template <typename T>
void SoftmaxCrossEntropy(cudaStream_t stream, const LossArguments<T>& arguments) {
  const LossArguments<T>& a = arguments;
  const int64_t logits = a.samples * a.classes * static_cast<int64_t>(sizeof(T));
  const LaunchShape shape{.name = "softmax cross-entropy",
                          .blocks = CeilDiv(a.samples, kLossThreads / kWarp),
                          .threads = kLossThreads,
                          .bytes = logits * (a.dlogits == nullptr ? 1 : 2) + 16 * a.samples};
  if (a.classes <= 128) {
    Launch(stream, shape, LossKernel<128, T>{a});
  } else if (a.classes <= 2048) {
    Launch(stream, shape, LossKernel<2048, T>{a});
  } else {
    Launch(stream, shape, LossKernel<0, T>{a});
  }
}
template void SoftmaxCrossEntropy(cudaStream_t, const LossArguments<float>&);
template void SoftmaxCrossEntropy(cudaStream_t, const LossArguments<BFloat16>&);

void AddSum(cudaStream_t stream, const double* values, int64_t elements, double* total) {
  if (elements == 0) return;
  Launch(stream,
         {.name = "add sum",
          .blocks = 1,
          .threads = kSumThreads,
          .bytes = (elements + 2) * static_cast<int64_t>(sizeof(double))},
         AddSumKernel{values, total, elements});
}

}  // namespace syncbn::backend::cuda::kernels
