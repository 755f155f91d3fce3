// What the CUDA back end computes with in each precision, beyond what the conformance tests say: on
// the emulated device, whose libraries round factors as a GPU does.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/cuda_backend.h"
#include "tests/backend/support.h"
#include "tests/emulation/tf32.h"

namespace syncbn::backend {
namespace {

using emulation::RoundToTf32;

TEST(Tf32, HasTenBitsOfMantissaAndRoundsToTheEven) {
  constexpr float kUnit = 0x1p-10f;
  EXPECT_EQ(RoundToTf32(1 + kUnit), 1 + kUnit);
  EXPECT_EQ(RoundToTf32(1 + kUnit / 2), 1.0f);
  EXPECT_EQ(RoundToTf32(1 + kUnit * 3 / 2), 1 + 2 * kUnit);
  EXPECT_EQ(RoundToTf32(-1 - kUnit * 0.501f), -1 - kUnit);
  EXPECT_EQ(RoundToTf32(0x1.fffffep0f), 2.0f);
  EXPECT_EQ(RoundToTf32(0), 0.0f);
  EXPECT_EQ(RoundToTf32(std::numeric_limits<float>::infinity()),
            std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(RoundToTf32(std::bit_cast<float>(0x7f800001u))));
}

Tensor Rounded(const Tensor& x) {
  Tensor rounded = x.Clone();
  for (double& value : rounded.Span<double>()) value = RoundToTf32(static_cast<float>(value));
  return rounded;
}

using Product = std::function<Tensor(Executor&, const Tensor& a, const Tensor& b)>;

// a and b, and what is made of them.
struct ProductCase {
  const char* name;
  Shape a, b;
  Product product;
};

const Conv2dSpec kConv{.in_channels = 6,
                       .out_channels = 10,
                       .kernel_h = 3,
                       .kernel_w = 2,
                       .stride_h = 2,
                       .pad_h = 1,
                       .groups = 2};
const Shape kImages{3, 7, 5, 6};

Tensor GradientOf(Executor& executor, const Shape& shape,
                  const std::function<void(GradientOut)>& backward) {
  Tensor gradient = executor.New(shape, executor.types().gradients);
  backward({.tensor = gradient});
  return gradient;
}

std::vector<ProductCase> Products() {
  const Shape y = kConv.OutputShape(kImages), weight = kConv.WeightShape();
  return {
      {"convolution", kImages, weight,
       [](Executor& executor, const Tensor& x, const Tensor& w) {
         return executor.Conv2dForward(kConv, x, w, {});
       }},
      {"its input's gradient", y, weight,
       [](Executor& executor, const Tensor& dy, const Tensor& w) {
         return executor.Conv2dBackwardInput(kConv, kImages, dy, w);
       }},
      {"its weights' gradient", kImages, y,
       [weight](Executor& executor, const Tensor& x, const Tensor& dy) {
         return GradientOf(executor, weight, [&](GradientOut out) {
           executor.Conv2dBackwardWeights(kConv, x, dy, out, {});
         });
       }},
      {"linear layer",
       {5, 37},
       {11, 37},
       [](Executor& executor, const Tensor& x, const Tensor& w) {
         return executor.LinearForward(x, w, {});
       }},
      {"its input's gradient",
       {5, 11},
       {11, 37},
       [](Executor& executor, const Tensor& dy, const Tensor& w) {
         return executor.LinearBackwardInput(dy, w);
       }},
      {"its weights' gradient",
       {5, 37},
       {5, 11},
       [](Executor& executor, const Tensor& x, const Tensor& dy) {
         return GradientOf(executor, {11, 37}, [&](GradientOut out) {
           executor.LinearBackwardWeights(x, dy, out, {});
         });
       }},
  };
}

class CudaPrecisionTest : public ::testing::Test {
 protected:
  // In the precision, of the factors as they are; and the reference's, in double.
  Tensor Device(Precision precision, const ProductCase& of, const Tensor& a, const Tensor& b) {
    const auto executor =
        (precision == Precision::kFloat32 ? cuda::MakeBackend()
                                          : cuda::MakeBackend()->WithPrecision(precision))
            ->MakeExecutor();
    return of.product(*executor, In(*executor, a), In(*executor, b)).OnHost();
  }
  Tensor Reference(const ProductCase& of, const Tensor& a, const Tensor& b) {
    const auto executor = MakeReferenceBackend()->MakeExecutor();
    return of.product(*executor, In(*executor, a), In(*executor, b));
  }
};

// Sums of at most 126 terms in float32: 16 units of float32's rounding.
constexpr double kFloatSums = 16 * 0x1p-24;

TEST_F(CudaPrecisionTest, InFloat32FactorsAreNotRounded) {
  for (const ProductCase& of : Products()) {
    SCOPED_TRACE(of.name);
    const Tensor a = RandomNormal(of.a, "a"), b = RandomNormal(of.b, "b");
    EXPECT_TRUE(Near(Device(Precision::kFloat32, of, a, b), Reference(of, a, b), kFloatSums));
    // Which would be seen.
    EXPECT_FALSE(Near(Reference(of, Rounded(a), Rounded(b)), Reference(of, a, b), kFloatSums));
  }
}

TEST_F(CudaPrecisionTest, InTf32ProductsAreOfFactorsWithTenBits) {
  for (const ProductCase& of : Products()) {
    SCOPED_TRACE(of.name);
    const Tensor a = RandomNormal(of.a, "a"), b = RandomNormal(of.b, "b");
    const Tensor product = Device(Precision::kTf32, of, a, b);
    EXPECT_EQ(product.dtype(), DType::kFloat32);
    EXPECT_TRUE(Near(product, Reference(of, Rounded(a), Rounded(b)), kFloatSums));
  }
}

TEST_F(CudaPrecisionTest, InTf32AllElseIsFloat32) {
  const auto plain = cuda::MakeBackend(), tf32 = plain->WithPrecision(Precision::kTf32);
  EXPECT_EQ(tf32->name(), "cuda");
  EXPECT_EQ(&tf32->device(), &plain->device());
  EXPECT_EQ(tf32->types().activations, DType::kFloat32);
  const Tensor a = RandomNormal({7, 12}, "a"), b = RandomNormal({7, 12}, "b");
  const auto sum = [&](const Backend& backend) {
    const auto executor = backend.MakeExecutor();
    return executor->Add(In(*executor, a), In(*executor, b)).OnHost();
  };
  EXPECT_TRUE(SameBits(sum(*tf32), sum(*plain)));
}

// -- BFloat16
// ---------------------------------------------------------------------------------------

class BFloat16Test : public ::testing::Test {
 protected:
  BFloat16Test()
      : float32_(cuda::MakeBackend()->MakeExecutor()),
        bf16_(cuda::MakeBackend()->WithPrecision(Precision::kBFloat16)->MakeExecutor()) {}

  // The values of a BF16 tensor, and the same in float32 on the device.
  Tensor Widened(const Tensor& x) {
    return float32_->ToDevice(x.OnHost().As(DType::kFloat32), DType::kFloat32);
  }

  const std::unique_ptr<Executor> float32_, bf16_;
};

TEST_F(BFloat16Test, OnlyActivationsAreNarrow) {
  EXPECT_EQ(bf16_->types().activations, DType::kBFloat16);
  EXPECT_EQ(bf16_->types().parameters, DType::kFloat32);
  EXPECT_EQ(bf16_->types().gradients, DType::kFloat32);
  const Tensor x = In(*bf16_, RandomNormal({4, 9}, "x"));
  EXPECT_EQ(bf16_->LinearForward(x, Parameter(*bf16_, Filled({3, 9}, 1)), {}).dtype(),
            DType::kBFloat16);
  Tensor gradient = bf16_->New({9, 9}, DType::kFloat32);
  bf16_->LinearBackwardWeights(x, x, {.tensor = gradient}, {});
}

// Of -1 and a master that is 1 + 2^-12, which BF16 has not, 2^-12 is left.
TEST_F(BFloat16Test, BiasAndShiftAreNotRounded) {
  const double left = 0x1p-12;
  const Tensor master = Parameter(*bf16_, FromValues({1}, {1 + left}));
  const Tensor minus_one = In(*bf16_, Filled({5, 1}, -1)),
               one = Parameter(*bf16_, Filled({1, 1}, 1));
  EXPECT_TRUE(Equal(bf16_->LinearForward(minus_one, one, master), Filled({5, 1}, left)));
  const Normalization norm{.layout = {.segments = 1, .samples = 5, .channels = 1},
                           .mean = OnDevice(*bf16_, Filled({1, 1}, 0)),
                           .inv_std = OnDevice(*bf16_, Filled({1, 1}, 1)),
                           .beta = master};
  EXPECT_TRUE(Equal(bf16_->NormalizeForward(norm, minus_one, {}), Filled({5, 1}, left)));
}

// Sums over 10,000 rows in double: as exact as those of the same values in float32.
TEST_F(BFloat16Test, StatisticsAreThoseOfTheSameValuesInFloat32) {
  for (const int64_t channels : {1, 3, 8, 20, 300}) {
    SCOPED_TRACE(channels);
    const RowLayout layout{
        .segments = 1, .samples = 100, .rows_per_sample = 100, .channels = channels};
    const Tensor x = In(*bf16_, RandomNormal({layout.rows(), channels}, "x", 3));
    const auto moments = [&](Executor& executor, const Tensor& of) {
      Tensor result = executor.New({1, 1 + 2 * channels}, DType::kFloat64);
      executor.Moments(layout, of, result);
      return result.OnHost();
    };
    EXPECT_TRUE(Near(moments(*bf16_, x), moments(*float32_, Widened(x)), 1e-14));
    const auto sums = [&](Executor& executor, const Tensor& of) {
      const Normalization norm{.layout = layout,
                               .mean = OnDevice(executor, Filled({1, channels}, 3)),
                               .inv_std = OnDevice(executor, Filled({1, channels}, 1))};
      Tensor dy = executor.New({1, channels}, DType::kFloat64), dy_xhat = executor.Clone(dy);
      executor.NormalizeBackwardSums(norm, of, {}, of, dy, dy_xhat);
      return std::vector<Tensor>{dy.OnHost(), dy_xhat.OnHost()};
    };
    const std::vector<Tensor> narrow = sums(*bf16_, x), wide = sums(*float32_, Widened(x));
    EXPECT_TRUE(Near(narrow[0], wide[0], 1e-14));
    EXPECT_TRUE(Near(narrow[1], wide[1], 1e-14));
    Tensor squares = bf16_->New({1}, DType::kFloat64), of_wide = bf16_->Clone(squares);
    const Tensor widened = Widened(x);
    bf16_->SumsOfSquares({&x, 1}, squares);
    float32_->SumsOfSquares({&widened, 1}, of_wide);
    EXPECT_TRUE(SameBits(squares, of_wide));
  }
}

TEST_F(BFloat16Test, IsConvertedOnTheDeviceAsOnTheHost) {
  for (const int64_t elements : {0, 1, 7, 8, 1001}) {
    const Tensor x = As(RandomNormal({elements}, "x"), DType::kFloat32);
    const Tensor there = bf16_->ToDevice(x, DType::kFloat32);
    const Tensor narrow = bf16_->Convert(there, DType::kBFloat16);
    EXPECT_TRUE(SameBits(narrow, x.As(DType::kBFloat16)));
    EXPECT_TRUE(
        SameBits(bf16_->Convert(narrow, DType::kFloat32), narrow.OnHost().As(DType::kFloat32)));
    EXPECT_TRUE(SameBits(bf16_->ToDevice(x, DType::kBFloat16), narrow));
    Tensor filled = bf16_->New({elements}, DType::kBFloat16);
    bf16_->Fill(filled, 0.1);
    EXPECT_TRUE(Equal(filled, Filled({elements}, 0.1)));
  }
}

}  // namespace
}  // namespace syncbn::backend
