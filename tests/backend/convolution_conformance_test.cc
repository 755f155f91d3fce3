#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/backend/conformance.h"

namespace syncbn::backend {
namespace {

struct ConvolutionCase {
  Conv2dSpec spec;
  int64_t height, width;
};

std::ostream& operator<<(std::ostream& out, const ConvolutionCase& c) {
  const Conv2dSpec& s = c.spec;
  return out << s.in_channels << " -> " << s.out_channels << ", kernel " << s.kernel_h << " x "
             << s.kernel_w << ", stride " << s.stride_h << " x " << s.stride_w << ", padding "
             << s.pad_h << " x " << s.pad_w << ", groups " << s.groups << ", image " << c.height
             << " x " << c.width;
}

Conv2dSpec Square(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad,
                  int64_t groups = 1) {
  return {.in_channels = in,
          .out_channels = out,
          .kernel_h = kernel,
          .kernel_w = kernel,
          .stride_h = stride,
          .stride_w = stride,
          .pad_h = pad,
          .pad_w = pad,
          .groups = groups};
}

const std::vector<ConvolutionCase>& Cases() {
  static const std::vector<ConvolutionCase> cases = {
      {Square(3, 16, 3, 1, 1), 9, 7},
      {Square(1, 10, 5, 1, 0), 12, 11},
      {Square(16, 16, 3, 2, 1), 8, 7},
      {Square(16, 24, 1, 2, 0), 7, 5},
      // Every other pixel of few channels: oneDNN takes too little memory for their gradients' sums.
      {Square(4, 8, 1, 2, 0), 32, 32},
      {Square(3, 16, 1, 2, 0), 15, 16},
      {Square(20, 8, 1, 3, 0), 12, 10},
      {Square(24, 24, 3, 1, 1), 5, 6},
      {Square(64, 64, 3, 1, 1), 5, 4},
      {Square(64, 10, 1, 1, 0), 3, 3},
      {Square(10, 3, 7, 2, 3), 11, 9},
      // The kernel covers the whole input, or more than the image without its padding.
      {Square(10, 24, 5, 1, 0), 5, 5},
      {Square(3, 16, 5, 1, 2), 2, 3},
      // Rows or columns at the end that no window reaches.
      {Square(3, 3, 2, 3, 0), 7, 9},
      {Square(16, 24, 3, 1, 1, 4), 5, 7},
      {Square(10, 10, 3, 2, 1, 2), 6, 5},
      {Square(24, 24, 3, 1, 1, 24), 5, 5},
      {Square(3, 24, 3, 1, 1, 3), 4, 5},
      {{.in_channels = 3,
        .out_channels = 10,
        .kernel_h = 3,
        .kernel_w = 2,
        .stride_h = 1,
        .stride_w = 2,
        .pad_h = 2,
        .pad_w = 0},
       5,
       9},
  };
  return cases;
}

// The three passes of a case, with random normal numbers, or whole ones up to `whole`.
class Passes {
 public:
  Passes(const ConvolutionCase& c, int64_t samples, int whole)
      : spec_(c.spec), x_shape_{samples, c.height, c.width, c.spec.in_channels} {
    const auto draw = [whole](Shape shape, std::string_view name) {
      return whole > 0 ? RandomIntegers(shape, name, -whole, whole) : RandomNormal(shape, name);
    };
    x_ = draw(x_shape_, "x");
    weight_ = draw(spec_.WeightShape(), "weight");
    bias_ = draw({spec_.out_channels}, "bias");
    dy_ = draw(spec_.OutputShape(x_shape_), "dy");
    dweight_ = draw(weight_.shape(), "dweight before");
    dbias_ = draw(bias_.shape(), "dbias before");
  }

  std::vector<Tensor> Forward(Executor& e) const {
    return {e.Conv2dForward(spec_, In(e, x_), Parameter(e, weight_), Parameter(e, bias_)),
            e.Conv2dForward(spec_, In(e, x_), Parameter(e, weight_), {})};
  }
  std::vector<Tensor> BackwardInput(Executor& e) const {
    return {e.Conv2dBackwardInput(spec_, x_shape_, In(e, dy_), Parameter(e, weight_))};
  }
  std::vector<Tensor> BackwardWeights(Executor& e) const {
    std::vector<Tensor> results;
    for (const bool accumulate : {false, true}) {
      GuardedGradient dweight(e, dweight_), dbias(e, dbias_);
      e.Conv2dBackwardWeights(spec_, In(e, x_), In(e, dy_), dweight.Out(accumulate),
                              dbias.Out(accumulate));
      results.push_back(dweight.Result());
      results.push_back(dbias.Result());
      GuardedGradient alone(e, dweight_);
      e.Conv2dBackwardWeights(spec_, In(e, x_), In(e, dy_), alone.Out(accumulate), {});
      results.push_back(alone.Result());
    }
    return results;
  }

  int64_t forward_terms() const {
    return spec_.in_channels / spec_.groups * spec_.kernel_h * spec_.kernel_w;
  }
  int64_t backward_input_terms() const {
    return spec_.out_channels / spec_.groups * spec_.kernel_h * spec_.kernel_w;
  }
  int64_t backward_weights_terms() const { return dy_.shape().rows(); }

 private:
  Conv2dSpec spec_;
  Shape x_shape_;
  Tensor x_, weight_, bias_, dy_, dweight_, dbias_;
};

class ConvolutionConformance : public ConformanceTest {
 protected:
  // Of which sums are exact where results are stored: BF16 has those up to 256.
  int WholeNumbers() const { return StoresBFloat16() ? 1 : 4; }
};
INSTANTIATE_TEST_SUITE_P(Backends, ConvolutionConformance, ::testing::ValuesIn(BackendsUnderTest()),
                         NameOfCase);

TEST_P(ConvolutionConformance, EqualsTheReferenceUpToRounding) {
  for (const ConvolutionCase& c : Cases()) {
    for (const int64_t samples : {0, 1, 2, 5}) {
      SCOPED_TRACE(::testing::Message() << c << ", samples " << samples);
      const Passes passes(c, samples, /*whole=*/0);
      // Before the bias is added.
      ExpectClose([&](Executor& e) { return passes.Forward(e); }, passes.forward_terms(), 4,
                  /*stored=*/1);
      ExpectClose([&](Executor& e) { return passes.BackwardInput(e); },
                  passes.backward_input_terms());
      ExpectClose([&](Executor& e) { return passes.BackwardWeights(e); },
                  passes.backward_weights_terms(), 4, /*stored=*/1);  // by cuDNN in the type of x
    }
  }
}

TEST_P(ConvolutionConformance, IsExactOnSmallWholeNumbers) {
  for (const ConvolutionCase& c : Cases()) {
    for (const int64_t samples : {1, 5}) {
      SCOPED_TRACE(::testing::Message() << c << ", samples " << samples);
      const Passes passes(c, samples, WholeNumbers());
      ExpectExact([&](Executor& e) { return passes.Forward(e); });
      ExpectExact([&](Executor& e) { return passes.BackwardInput(e); });
      ExpectExact([&](Executor& e) { return passes.BackwardWeights(e); });
    }
  }
}

TEST_P(ConvolutionConformance, ShapesThatDoNotFitAreRefused) {
  const Conv2dSpec spec = Square(3, 4, 3, 1, 0);
  Executor& e = tested();
  const Tensor weight = Parameter(e, Filled(spec.WeightShape(), 1));
  EXPECT_THROW(e.Conv2dForward(spec, In(e, Filled({1, 8, 8, 4}, 1)), weight, {}), Error);
  EXPECT_THROW(e.Conv2dForward(spec, In(e, Filled({1, 2, 8, 3}, 1)), weight, {}), Error);
}

}  // namespace
}  // namespace syncbn::backend
