// What the CUDA back end multiplies in float32 and in TF32: on the emulated device, whose libraries
// round factors as a GPU does.
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
      {"linear layer", {5, 37}, {11, 37},
       [](Executor& executor, const Tensor& x, const Tensor& w) {
         return executor.LinearForward(x, w, {});
       }},
      {"its input's gradient", {5, 11}, {11, 37},
       [](Executor& executor, const Tensor& dy, const Tensor& w) {
         return executor.LinearBackwardInput(dy, w);
       }},
      {"its weights' gradient", {5, 37}, {5, 11},
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

}  // namespace
}  // namespace syncbn::backend
