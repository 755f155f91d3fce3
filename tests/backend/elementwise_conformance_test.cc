#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "tests/backend/conformance.h"

namespace syncbn::backend {
namespace {

// Lengths around those of vector registers, and none; more samples than one launch has keys for.
const std::vector<Shape>& Shapes() {
  static const std::vector<Shape> shapes = {{0, 5, 7, 3}, {1, 1},        {2, 3},
                                            {1, 10},      {5, 5, 7, 3},  {2, 4, 4, 16},
                                            {5, 24},      {1, 3, 3, 64}, {300, 6}};
  return shapes;
}

class ElementwiseConformance : public ConformanceTest {
 protected:
  std::vector<Tensor> ForwardAndBackward(Executor& e, ActivationKind kind, const Tensor& x,
                                         const Tensor& dy) {
    // The same output for both, as it is stored.
    const Tensor y = Fit(As(reference().ActivationForward(kind, x), DType::kFloat64));
    return {e.ActivationForward(kind, In(e, x)),
            e.ActivationBackward(kind, In(e, IsFromInput(kind) ? x : y), In(e, dy))};
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, ElementwiseConformance, ::testing::ValuesIn(BackendsUnderTest()),
                         NameOfCase);

TEST_P(ElementwiseConformance, ReluIsExact) {
  for (const Shape& shape : Shapes()) {
    SCOPED_TRACE(shape);
    const Tensor x = RandomNormal(shape, "x"), dy = RandomNormal(shape, "dy");
    ExpectExact([&](Executor& e) { return ForwardAndBackward(e, ActivationKind::kRelu, x, dy); });
  }
}

TEST_P(ElementwiseConformance, AnActivationThatNobodyHasTaughtItIsAnError) {
  Executor& e = tested();
  const Tensor x = In(e, Filled({2, 3}, 1));
  const auto unknown = static_cast<ActivationKind>(9);
  EXPECT_THROW(e.ActivationForward(unknown, x), Error);
  EXPECT_THROW(e.ActivationBackward(unknown, x, x), Error);
}

TEST_P(ElementwiseConformance, ReluHasNoSlopeAtZero) {
  const Tensor x = FromValues({1, 4}, {0, -0.0, 0x1p-130, -0x1p-130});
  ExpectExact([&](Executor& e) {
    return ForwardAndBackward(e, ActivationKind::kRelu, x, Filled({1, 4}, 1));
  });
}

TEST_P(ElementwiseConformance, SigmoidAndTanhEqualTheReferenceUpToRounding) {
  for (const ActivationKind kind : {ActivationKind::kSigmoid, ActivationKind::kTanh}) {
    for (const Shape& shape : Shapes()) {
      SCOPED_TRACE(shape);
      const Tensor x = RandomNormal(shape, "x", 0, 3), dy = RandomNormal(shape, "dy");
      // An exponential of a few units in the last place, and a division.
      ExpectClose([&](Executor& e) { return ForwardAndBackward(e, kind, x, dy); }, 1, 8);
    }
  }
}

TEST_P(ElementwiseConformance, GeluAndSiluEqualTheReferenceUpToRounding) {
  for (const ActivationKind kind : {ActivationKind::kGelu, ActivationKind::kSilu}) {
    for (const Shape& shape : Shapes()) {
      SCOPED_TRACE(shape);
      const Tensor x = RandomNormal(shape, "x", 0, 3), dy = RandomNormal(shape, "dy");
      const std::vector<Tensor> actual = ForwardAndBackward(tested(), kind, x, dy);
      const std::vector<Tensor> expected = ForwardAndBackward(reference(), kind, x, dy);
      EXPECT_TRUE(Near(actual[0], expected[0], Rounding(1, 8)));
      // The two terms of a slope may cancel: what is small is right to what they were.
      EXPECT_TRUE(Near(actual[1], expected[1], Rounding(1, 8), /*scale=*/1));
    }
    // Far out they are nothing, or the input itself.
    const Tensor x = FromValues({1, 6}, {-1e4, -200, -100, 100, 200, 1e4});
    const std::vector<Tensor> results = ForwardAndBackward(tested(), kind, x, Filled(x.shape(), 1));
    EXPECT_TRUE(Near(results[0], FromValues({1, 6}, {0, 0, 0, 100, 200, 1e4}), 1e-30));
    EXPECT_TRUE(Near(results[1], FromValues({1, 6}, {0, 0, 0, 1, 1, 1}), 1e-30, /*scale=*/1));
  }
}

TEST_P(ElementwiseConformance, SigmoidAndTanhSaturate) {
  const Tensor x = FromValues({1, 6}, {-1e4, -200, -100, 100, 200, 1e4});
  for (const ActivationKind kind : {ActivationKind::kSigmoid, ActivationKind::kTanh}) {
    const double low = kind == ActivationKind::kTanh ? -1 : 0;
    const std::vector<Tensor> results = ForwardAndBackward(tested(), kind, x, Filled(x.shape(), 1));
    EXPECT_TRUE(Near(results[0], FromValues({1, 6}, {low, low, low, 1, 1, 1}), 1e-30));
    EXPECT_TRUE(Near(results[1], Filled({1, 6}, 0), 1e-30, /*scale=*/1));
  }
}

// Or a training step that must be skipped would pass for a good one.
TEST_P(ElementwiseConformance, NotANumberPassesThroughEveryActivation) {
  Executor& e = tested();
  Tensor x = RandomNormal({3, 25}, "x");
  for (const int64_t place : {0, 33, 74}) {
    x.Data<double>()[place] = std::numeric_limits<double>::quiet_NaN();
  }
  for (const ActivationKind kind : kActivations) {
    const Tensor y = As(e.ActivationForward(kind, In(e, x)), DType::kFloat64);
    for (int64_t i = 0; i < x.elements(); ++i) {
      EXPECT_EQ(std::isnan(y.Data<double>()[i]), std::isnan(x.Data<double>()[i])) << i;
    }
  }
}

TEST_P(ElementwiseConformance, AddIsExactOnWholeNumbers) {
  for (const Shape& shape : Shapes()) {
    SCOPED_TRACE(shape);
    const Tensor a = RandomIntegers(shape, "a", -999, 999);
    const Tensor b = RandomIntegers(shape, "b", -999, 999);
    ExpectExact([&](Executor& e) { return std::vector<Tensor>{e.Add(In(e, a), In(e, b))}; });
  }
}

// -- Dropout -------------------------------------------------------------------------------------

constexpr double kProbabilities[] = {0, 0.1, 0.5, 0.75, 0.9};

TEST_P(ElementwiseConformance, DropoutKeepsWhatItsDocumentedRuleKeeps) {
  Executor& e = tested();
  for (const Shape& shape : Shapes()) {
    for (const double probability : kProbabilities) {
      SCOPED_TRACE(::testing::Message() << shape << ", probability " << probability);
      const int64_t samples = shape[0];
      const std::vector<RandomKey> keys = Keys(samples, "dropout");
      const Tensor ones = In(e, Filled(shape, 1));
      const Tensor y = As(e.Dropout(ones, keys, probability), DType::kFloat64);
      ASSERT_EQ(y.shape(), shape);
      const int64_t elements = samples == 0 ? 0 : shape.elements() / samples;
      for (int64_t i = 0; i < samples; ++i) {
        const std::array<uint32_t, 2> key = {static_cast<uint32_t>(keys[i].value()),
                                             static_cast<uint32_t>(keys[i].value() >> 32)};
        for (int64_t j = 0; j < elements; ++j) {
          const uint32_t word = Philox4x32(key, {static_cast<uint32_t>(j / 4), 0, 0, 0})[j % 4];
          const bool kept = static_cast<double>(word) / 4294967296.0 >= probability;
          EXPECT_EQ(y.Data<double>()[i * elements + j] != 0, kept) << i << ", " << j;
        }
      }
    }
  }
}

TEST_P(ElementwiseConformance, DropoutScalesWhatItKeeps) {
  for (const Shape& shape : Shapes()) {
    const Tensor x = RandomNormal(shape, "x");
    const std::vector<RandomKey> keys = Keys(shape[0], "dropout");
    for (const double probability : kProbabilities) {
      SCOPED_TRACE(::testing::Message() << shape << ", probability " << probability);
      ExpectClose(
          [&](Executor& e) { return std::vector<Tensor>{e.Dropout(In(e, x), keys, probability)}; },
          1);
    }
    // The factors 2 and 4 are exact.
    for (const double probability : {0.5, 0.75}) {
      ExpectExact(
          [&](Executor& e) { return std::vector<Tensor>{e.Dropout(In(e, x), keys, probability)}; });
    }
  }
}

TEST_P(ElementwiseConformance, DropoutOfASampleDependsOnItsKeyAndNotOnItsPlace) {
  Executor& e = tested();
  const Tensor x = In(e, RandomNormal({4, 3, 3, 5}, "x"));
  const std::vector<RandomKey> keys = Keys(4, "dropout");
  const Tensor together = e.Dropout(x, keys, 0.5);
  for (int64_t i = 0; i < 4; ++i) {
    const Tensor alone = e.Dropout(x.Rows(i, i + 1), std::span(keys).subspan(i, 1), 0.5);
    EXPECT_TRUE(SameBits(alone, together.Rows(i, i + 1))) << "sample " << i;
  }
}

TEST_P(ElementwiseConformance, DropoutKeepsItsShareOfMany) {
  Executor& e = tested();
  const int64_t elements = 100000;
  const Tensor y =
      As(e.Dropout(In(e, Filled({1, elements}, 1)), Keys(1, "many"), 0.3), DType::kFloat64);
  int64_t kept = 0;
  for (double value : y.Span<double>()) kept += value != 0;
  // Five standard deviations of a binomial count.
  EXPECT_NEAR(static_cast<double>(kept), 0.7 * elements, 5 * std::sqrt(elements * 0.3 * 0.7));
}

// -- Noise ---------------------------------------------------------------------------------------

constexpr NoiseSpec kNoise{.shift = 0.5, .scale = 1.25, .spread = 0.1, .channels = RandomKey(77)};

TEST_P(ElementwiseConformance, NoiseIsThatOfTheReference) {
  for (const Shape& shape : Shapes()) {
    SCOPED_TRACE(shape);
    const Tensor x = RandomNormal(shape, "x");
    const std::vector<RandomKey> keys = Keys(shape[0], "noise");
    ExpectClose(
        [&](Executor& e) {
          return std::vector<Tensor>{e.Noise(kNoise, In(e, x), keys),
                                     e.NoiseBackward(kNoise, In(e, x), keys)};
        },
        1, 8);
  }
}

TEST_P(ElementwiseConformance, NoiseHasTheMomentsItSays) {
  Executor& e = tested();
  const int64_t rows = 40000;
  const Tensor ones = In(e, Filled({1, rows, 2}, 1)), zeros = In(e, Filled({1, rows, 2}, 0));
  const std::vector<RandomKey> keys = Keys(1, "many");
  const NoiseSpec noise{.shift = 3, .scale = 5, .spread = 0.5, .channels = RandomKey(5)};
  const Tensor factors = As(e.NoiseBackward(noise, ones, keys), DType::kFloat64);
  const Tensor shifts = As(e.Noise(noise, zeros, keys), DType::kFloat64);
  RandomStream stream(noise.channels);
  for (int64_t c = 0; c < 2; ++c) {
    const double mu = 3 * (2 * stream.UniformDouble() - 1);
    const double sigma = 1 + 4 * stream.UniformDouble();
    double s1 = 0, s2 = 0, s4 = 0, m1 = 0, m2 = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const double s = factors.Data<double>()[2 * r + c] - sigma;
      const double m = shifts.Data<double>()[2 * r + c] - mu;
      EXPECT_LE(std::abs(m), 0.5 + 1e-6 + 3.5 * StoredRounding(1));
      s1 += s / rows;
      s2 += s * s / rows;
      s4 += s * s * s * s / rows;
      m1 += m / rows;
      m2 += m * m / rows;
    }
    // Of N(0, 1/4) and U(-1/2, 1/2); five standard deviations of the means are 0.013 and below.
    EXPECT_NEAR(s1, 0, 0.013);
    EXPECT_NEAR(s2, 0.25, 0.01);
    EXPECT_NEAR(s4, 3.0 / 16, 0.03);
    EXPECT_NEAR(m1, 0, 0.008);
    EXPECT_NEAR(m2, 1.0 / 12, 0.003);
  }
}

TEST_P(ElementwiseConformance, NoiseOfASampleDependsOnItsKeyAndNotOnItsPlace) {
  Executor& e = tested();
  const Tensor x = In(e, RandomNormal({4, 3, 3, 5}, "x"));
  const std::vector<RandomKey> keys = Keys(4, "noise");
  const Tensor together = e.Noise(kNoise, x, keys);
  for (int64_t i = 0; i < 4; ++i) {
    const Tensor alone = e.Noise(kNoise, x.Rows(i, i + 1), std::span(keys).subspan(i, 1));
    EXPECT_TRUE(SameBits(alone, together.Rows(i, i + 1))) << "sample " << i;
  }
}

// -- Channels ------------------------------------------------------------------------------------

TEST_P(ElementwiseConformance, ChannelsOfAConcatenationAreThoseOfItsParts) {
  Executor& e = tested();
  for (const int64_t samples : {0, 3}) {
    const Tensor a = In(e, RandomNormal({samples, 2, 3, 5}, "a"));
    const Tensor b = In(e, RandomNormal({samples, 2, 3, 1}, "b"));
    const Tensor c = In(e, RandomNormal({samples, 2, 3, 16}, "c"));
    const Tensor parts[] = {a, b, c};
    const Tensor all = e.ConcatChannels(parts);
    ASSERT_EQ(all.shape(), Shape({samples, 2, 3, 22}));
    EXPECT_TRUE(SameBits(e.SliceChannels(all, 0, 5), a));
    EXPECT_TRUE(SameBits(e.SliceChannels(all, 5, 1), b));
    EXPECT_TRUE(SameBits(e.SliceChannels(all, 6, 16), c));
  }
}

}  // namespace
}  // namespace syncbn::backend
