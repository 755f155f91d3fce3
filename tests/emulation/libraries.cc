// Convolutions and matrix products of the emulated device: plain loops, when the stream comes to
// them.
#include "backend/cuda/libraries.h"

#include <functional>
#include <type_traits>
#include <vector>

#include "base/check.h"
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
template <typename Sum, typename T>
class Sums {
 public:
  Sums(T* results, int64_t elements) : results_(results), sums_(static_cast<size_t>(elements), 0) {}
  ~Sums() {
    for (size_t i = 0; i < sums_.size(); ++i) results_[i] = T(static_cast<float>(sums_[i]));
  }
  void Add(int64_t i, float a, float b) {
    sums_[static_cast<size_t>(i)] += static_cast<Sum>(a) * static_cast<Sum>(b);
  }

 private:
  T* const results_;
  std::vector<Sum> sums_;
};

// Calls with(element) with one of this type.
template <typename With>
void ForType(DType type, const With& with) {
  if (type == DType::kBFloat16) return with(BFloat16());
  SYNCBN_CHECK_EQ(type, DType::kFloat32) << "elements of a product";
  with(float());
}

// Factors as they are multiplied.
struct Rounding {
  bool tf32 = false;

  float Of(float value) const { return tf32 ? emulation::RoundToTf32(value) : value; }
  float Of(BFloat16 value) const { return static_cast<float>(value); }
};

// What it gives the stream may be done when it is gone.
class PlainLibraries final : public Libraries {
 public:
  PlainLibraries(StreamCore& stream, bool tf32) : stream_(stream), rounding_{tf32} {}

  void ConvolutionForward(const Conv2dSpec& spec, const Shape& x_shape, Factor x, Factor filter,
                          Result y) override {
    Convolve(x, filter, y, spec.OutputShape(x_shape), [spec, x_shape](const auto& add) {
      ForEachProduct(spec, x_shape, [&](int64_t a, int64_t b, int64_t c) { add(a, b, c); });
    });
  }
  void ConvolutionBackwardInput(const Conv2dSpec& spec, const Shape& x_shape, Factor dy,
                                Factor filter, Result dx) override {
    Convolve(dy, filter, dx, x_shape, [spec, x_shape](const auto& add) {
      ForEachProduct(spec, x_shape, [&](int64_t a, int64_t b, int64_t c) { add(c, b, a); });
    });
  }
  void ConvolutionBackwardFilter(const Conv2dSpec& spec, const Shape& x_shape, Factor x, Factor dy,
                                 Result dfilter) override {
    Convolve(x, dy, dfilter, spec.WeightShape(), [spec, x_shape](const auto& add) {
      ForEachProduct(spec, x_shape, [&](int64_t a, int64_t b, int64_t c) { add(a, c, b); });
    });
  }
  void Multiply(const MatrixProduct& p) override {
    ForType(p.a.type, [&](auto factor) {
      using T = decltype(factor);
      ForType(p.c.type, [&](auto result) {
        SYNCBN_CHECK_EQ(p.b.type, p.a.type) << "factors of a product";
        if constexpr (std::is_same_v<T, float>) {
          // float32 in double, so that what tests compare with has the rounding of one; else as
          // GPUs.
          if (!rounding_.tf32) {
            return Give(
                [=, rounding = rounding_] { Multiply<T, decltype(result), double>(p, rounding); });
          }
        }
        Give([=, rounding = rounding_] { Multiply<T, decltype(result), float>(p, rounding); });
      });
    });
  }

 private:
  // results[k] = the sum of a[i] b[j] over all (i, j, k) of `products`.
  template <typename Products>
  void Convolve(Factor a, Factor b, Result results, const Shape& shape, const Products& products) {
    SYNCBN_CHECK(a.type == b.type && b.type == results.type) << "types of a convolution";
    ForType(a.type, [&](auto element) {
      using T = decltype(element);
      Give([=, rounding = rounding_] {
        const T *const left = static_cast<const T*>(a.elements), *const right =
                                                                     static_cast<const T*>(
                                                                         b.elements);
        Sums<float, T> sums(static_cast<T*>(results.elements), shape.elements());
        products([&](int64_t i, int64_t j, int64_t k) {
          sums.Add(k, rounding.Of(left[i]), rounding.Of(right[j]));
        });
      });
    });
  }

  template <typename T, typename R, typename Sum>
  static void Multiply(const MatrixProduct& p, Rounding rounding) {
    const T *const left = static_cast<const T*>(p.a.elements), *const right = static_cast<const T*>(
                                                                   p.b.elements);
    Sums<Sum, R> sums(static_cast<R*>(p.c.elements), p.rows * p.columns);
    for (int64_t r = 0; r < p.rows; ++r) {
      for (int64_t k = 0; k < p.depth; ++k) {
        const float a = rounding.Of(left[p.transpose_a ? k * p.rows + r : r * p.depth + k]);
        for (int64_t c = 0; c < p.columns; ++c) {
          sums.Add(r * p.columns + c, a,
                   rounding.Of(right[p.transpose_b ? c * p.depth + k : k * p.columns + c]));
        }
      }
    }
  }

  void Give(std::function<void()> work) {
    emulation::CountOperation();
    stream_.handle().get()->Give([work = std::move(work)] {
      if (emulation::Sticky() == cudaSuccess) work();
    });
  }

  StreamCore& stream_;
  const Rounding rounding_;
};

}  // namespace

std::unique_ptr<Libraries> MakeLibraries(StreamCore& stream, Precision precision) {
  return std::make_unique<PlainLibraries>(stream, precision == Precision::kTf32);
}
std::vector<std::pair<std::string, std::string>> LibraryVersions() {
  return {{"emulated libraries", "1.0"}};
}

}  // namespace syncbn::backend::cuda
