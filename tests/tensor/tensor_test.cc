#include "tensor/tensor.h"

#include <gtest/gtest.h>

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
