#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace syncbn {
namespace {

TEST(Tensor, ViewsShareMemoryAndClonesDoNot) {
  Tensor x = Tensor::Zeros({4, 3}, DType::kFloat32);
  Tensor row = x.Rows(2, 3);
  row.Data<float>()[1] = 5;
  EXPECT_EQ(x.Data<float>()[7], 5);
  Tensor copy = x.Clone();
  copy.Data<float>()[7] = 6;
  EXPECT_EQ(x.Data<float>()[7], 5);
  EXPECT_EQ(x.Reshape({2, 6}).Data<float>()[7], 5);
}

TEST(Tensor, MayBeEmpty) {
  Tensor x({0, 8, 8, 3}, DType::kFloat32);
  EXPECT_TRUE(x.defined());
  EXPECT_EQ(x.elements(), 0);
  EXPECT_EQ(x.Rows(0, 0).shape(), (Shape{0, 8, 8, 3}));
  EXPECT_EQ(x.Clone().shape(), x.shape());
}

TEST(Tensor, WrongElementTypeIsRefused) {
  Tensor x({2}, DType::kFloat32);
  EXPECT_THROW(x.Data<double>(), Error);
  EXPECT_THROW(x.Reshape({3}), Error);
  EXPECT_THROW(x.Rows(1, 3), Error);
}

TEST(Tensor, ConvertsBetweenFloatingTypes) {
  Tensor x = Tensor::Zeros({2}, DType::kFloat32);
  x.Data<float>()[1] = 0.1f;
  const Tensor wide = x.As(DType::kFloat64);
  EXPECT_EQ(wide.Data<double>()[1], static_cast<double>(0.1f));
  EXPECT_EQ(wide.As(DType::kFloat32).Data<float>()[1], 0.1f);
  EXPECT_EQ(x.As(DType::kFloat32).Data<float>(), x.Data<float>());
}

TEST(Tensor, ConvertsBfloat16BothWays) {
  Tensor x = Tensor::Zeros({3}, DType::kFloat32);
  x.Data<float>()[1] = -1.5f;
  x.Data<float>()[2] = 0.1f;
  const Tensor half = x.As(DType::kBFloat16);
  EXPECT_EQ(half.bytes(), 6u);
  EXPECT_EQ(half.As(DType::kFloat32).Data<float>()[1], -1.5f);
  EXPECT_EQ(half.As(DType::kFloat32).Data<float>()[2], 0.10009765625f);
  EXPECT_EQ(half.As(DType::kFloat64).Data<double>()[2], 0.10009765625);
  EXPECT_EQ(half.As(DType::kFloat64).As(DType::kBFloat16).Data<BFloat16>()[2].bits,
            half.Data<BFloat16>()[2].bits);
  EXPECT_THROW(Tensor::Zeros({1}, DType::kInt32).As(DType::kFloat32), Error);
}

float ValueOf(uint32_t bits) {
  return std::bit_cast<float>(bits);
}
// The float that a bfloat16 of these bits is.
float Upper(uint32_t bits) {
  return ValueOf(bits << 16);
}

// Around each bfloat16 that is finite and has a larger neighbour.
TEST(BFloat16, IsTheNearestAndOfTwoTheEven) {
  for (uint32_t sign : {0u, 0x8000u}) {
    for (uint32_t magnitude = 0; magnitude < 0x7f80; ++magnitude) {
      const uint32_t bits = sign | magnitude, middle = (bits << 16) + 0x8000;
      ASSERT_EQ(BFloat16(Upper(bits)).bits, bits);
      ASSERT_EQ(BFloat16(ValueOf(middle - 1)).bits, bits);
      ASSERT_EQ(BFloat16(ValueOf(middle)).bits, magnitude % 2 == 0 ? bits : bits + 1);
      ASSERT_EQ(BFloat16(ValueOf(middle + 1)).bits, bits + 1);
      ASSERT_EQ(static_cast<float>(BFloat16::FromBits(static_cast<uint16_t>(bits))), Upper(bits));
    }
  }
}

TEST(BFloat16, InfiniteStaysInfiniteAndNanStaysNan) {
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  EXPECT_EQ(static_cast<float>(BFloat16(kInfinite)), kInfinite);
  EXPECT_EQ(static_cast<float>(BFloat16(-kInfinite)), -kInfinite);
  // Beyond the largest by half a unit.
  EXPECT_EQ(static_cast<float>(BFloat16(std::numeric_limits<float>::max())), kInfinite);
  // All of its mantissa in what is cut off, and such as would be carried into the exponent.
  for (const uint32_t bits : {0x7f800001u, 0xff800001u, 0x7fffffffu, 0xffffffffu, 0x7fc00000u}) {
    EXPECT_TRUE(std::isnan(static_cast<float>(BFloat16(ValueOf(bits))))) << bits;
  }
}

TEST(Tensor, OfTheHostIsItsOwnCopyOnTheHost) {
  const Tensor x = Tensor::Zeros({2, 3}, DType::kFloat32);
  EXPECT_EQ(&x.device(), &Device::Host());
  EXPECT_EQ(x.OnHost().Data<float>(), x.Data<float>());
  EXPECT_EQ(x.Rows(1, 2).OnHost().Data<float>(), x.Data<float>() + 3);
}

TEST(Shape, RowsAndChannelsOfAnImageBatch) {
  const Shape shape{64, 32, 32, 16};
  EXPECT_EQ(shape.rows(), 64 * 32 * 32);
  EXPECT_EQ(shape.channels(), 16);
  EXPECT_EQ(shape.ToString(), "[64, 32, 32, 16]");
}

}  // namespace
}  // namespace syncbn
