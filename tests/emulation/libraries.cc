// Convolutions and matrix products of the emulated device: plain loops, when the stream comes to
// them.
#include "backend/cuda/libraries.h"

#include <functional>
#include <vector>

#include "tests/emulation/runtime_state.h"
#include "tests/emulation/tf32.h"

namespace syncbn::backend::cuda {
namespace {

// Calls visit(x, filter, y) with the indices of every product x * filter that is a part of y.
template <typename Visit>
void ForEachProduct(const Conv2dSpec& spec, const Shape& x, const Visit& visit) {
  const Shape y = spec.OutputShape(x);
  const int64_t inputs = spec.in_channels / spec.groups, outputs = spec.out_channels / spec.groups;
  for (int64_t n = 0; n < y[0]; ++n) {
    for (int64_t oh = 0; oh < y[1]; ++oh) {
      for (int64_t ow = 0; ow < y[2]; ++ow) {
        const int64_t to = ((n * y[1] + oh) * y[2] + ow) * y[3];
        for (int64_t kh = 0; kh < spec.kernel_h; ++kh) {
          const int64_t h = oh * spec.stride_h - spec.pad_h + kh;
          if (h < 0 || h >= x[1]) continue;
          for (int64_t kw = 0; kw < spec.kernel_w; ++kw) {
            const int64_t w = ow * spec.stride_w - spec.pad_w + kw;
            if (w < 0 || w >= x[2]) continue;
            const int64_t from = ((n * x[1] + h) * x[2] + w) * x[3];
            for (int64_t o = 0; o < spec.out_channels; ++o) {
              const int64_t filter = ((o * spec.kernel_h + kh) * spec.kernel_w + kw) * inputs;
              const int64_t first = o / outputs * inputs;
              for (int64_t i = 0; i < inputs; ++i) visit(from + first + i, filter + i, to + o);
            }
          }
        }
      }
    }
  }
}

// Sums of products, which become results when all is added.
template <typename Sum>
class Sums {
 public:
  Sums(float* results, int64_t elements)
      : results_(results), sums_(static_cast<size_t>(elements), 0) {}
  ~Sums() {
    for (size_t i = 0; i < sums_.size(); ++i) results_[i] = static_cast<float>(sums_[i]);
  }
  void Add(int64_t i, float a, float b) {
    sums_[static_cast<size_t>(i)] += static_cast<Sum>(a) * static_cast<Sum>(b);
  }

 private:
  float* const results_;
  std::vector<Sum> sums_;
};

template <Precision kPrecision>
class PlainLibraries final : public Libraries {
 public:
  explicit PlainLibraries(StreamCore& stream) : stream_(stream) {}

  void ConvolutionForward(const Conv2dSpec& spec, const Shape& x_shape, const float* x,
                          const float* filter, float* y) override {
    Give([=] {
      std::fill_n(y, spec.OutputShape(x_shape).elements(), 0.0F);
      ForEachProduct(spec, x_shape,
                     [&](int64_t a, int64_t b, int64_t c) { y[c] += Of(x[a]) * Of(filter[b]); });
    });
  }
  void ConvolutionBackwardInput(const Conv2dSpec& spec, const Shape& x_shape, const float* dy,
                                const float* filter, float* dx) override {
    Give([=] {
      std::fill_n(dx, x_shape.elements(), 0.0F);
      ForEachProduct(spec, x_shape,
                     [&](int64_t a, int64_t b, int64_t c) { dx[a] += Of(dy[c]) * Of(filter[b]); });
    });
  }
  void ConvolutionBackwardFilter(const Conv2dSpec& spec, const Shape& x_shape, const float* x,
                                 const float* dy, float* dfilter) override {
    Give([=] {
      std::fill_n(dfilter, spec.WeightShape().elements(), 0.0F);
      ForEachProduct(spec, x_shape,
                     [&](int64_t a, int64_t b, int64_t c) { dfilter[b] += Of(dy[c]) * Of(x[a]); });
    });
  }
  void Multiply(const MatrixProduct& p) override {
    Give([=] {
      // float32 in double, so that what tests compare with has the rounding of one; else as GPUs.
      Sums<std::conditional_t<kPrecision == Precision::kFloat32, double, float>> sums(
          p.c, p.rows * p.columns);
      for (int64_t r = 0; r < p.rows; ++r) {
        for (int64_t k = 0; k < p.depth; ++k) {
          const float a = Of(p.transpose_a ? p.a[k * p.rows + r] : p.a[r * p.depth + k]);
          for (int64_t c = 0; c < p.columns; ++c) {
            sums.Add(r * p.columns + c, a,
                     Of(p.transpose_b ? p.b[c * p.depth + k] : p.b[k * p.columns + c]));
          }
        }
      }
    });
  }

 private:
  // A factor as it is multiplied.
  static float Of(float value) {
    return kPrecision == Precision::kTf32 ? emulation::RoundToTf32(value) : value;
  }
  void Give(std::function<void()> work) {
    emulation::CountOperation();
    stream_.handle().get()->Give([work = std::move(work)] {
      if (emulation::Sticky() == cudaSuccess) work();
    });
  }

  StreamCore& stream_;
};

}  // namespace

std::unique_ptr<Libraries> MakeLibraries(StreamCore& stream, Precision precision) {
  if (precision == Precision::kTf32) {
    return std::make_unique<PlainLibraries<Precision::kTf32>>(stream);
  }
  return std::make_unique<PlainLibraries<Precision::kFloat32>>(stream);
}
std::vector<std::pair<std::string, std::string>> LibraryVersions() {
  return {{"emulated libraries", "1.0"}};
}

}  // namespace syncbn::backend::cuda
