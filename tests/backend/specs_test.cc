#include "backend/specs.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "base/error.h"

namespace syncbn::backend {
namespace {

// The message with which `call` is refused as INVALID_ARGUMENT.
std::string Refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.message();
  }
  return "not refused";
}

TEST(Conv2dSpec, OutputShapeCountsThePlacesOfTheKernel) {
  Conv2dSpec spec{.in_channels = 3, .out_channels = 8, .kernel_h = 3, .kernel_w = 3};
  EXPECT_EQ(spec.OutputShape({4, 9, 7, 3}), (Shape{4, 7, 5, 8}));
  spec.pad_h = spec.pad_w = 1;
  EXPECT_EQ(spec.OutputShape({4, 9, 7, 3}), (Shape{4, 9, 7, 8}));
  spec.stride_h = spec.stride_w = 2;
  EXPECT_EQ(spec.OutputShape({4, 9, 8, 3}), (Shape{4, 5, 4, 8}));
  EXPECT_EQ(spec.OutputShape({0, 9, 8, 3}), (Shape{0, 5, 4, 8}));
}

TEST(Conv2dSpec, KernelMayCoverThePaddedInputAndNoMore) {
  Conv2dSpec spec{.in_channels = 1, .out_channels = 1, .kernel_h = 5, .kernel_w = 1, .pad_h = 1};
  EXPECT_EQ(spec.OutputShape({1, 3, 3, 1}), (Shape{1, 1, 3, 1}));
  EXPECT_EQ(Refusal([&] {
              spec.OutputShape({1, 2, 3, 1});
            }),
            "conv2d: a kernel of 5 does not fit the input's height of 2 + 2 x 1 padding; use a "
            "smaller kernel, more padding or larger images");
}

TEST(Conv2dSpec, WeightShapeIsPyTorchs) {
  const Conv2dSpec spec{
      .in_channels = 6, .out_channels = 4, .kernel_h = 3, .kernel_w = 5, .groups = 2};
  EXPECT_EQ(spec.WeightShape(), (Shape{4, 3, 3, 5}));
}

TEST(Conv2dSpec, ChannelsThatDoNotMatchAreNamed) {
  const Conv2dSpec spec{.in_channels = 3, .out_channels = 8};
  EXPECT_EQ(Refusal([&] {
              spec.OutputShape({4, 9, 7, 16});
            }),
            "conv2d: the layer takes 3 channels, the input [4, 9, 7, 16] has 16");
}

TEST(Conv2dSpec, GroupsMustDivideBothChannelCounts) {
  for (const auto& [in, out] : {std::pair{4, 6}, std::pair{6, 4}}) {
    const Conv2dSpec spec{.in_channels = in, .out_channels = out, .groups = 4};
    const std::string message = Refusal([&] { spec.OutputShape({1, 8, 8, in}); });
    EXPECT_EQ(message, "conv2d: groups = 4 must divide both " + std::to_string(in) + " input and " +
                           std::to_string(out) + " output channels");
  }
}

TEST(Conv2dSpec, InputMustBeImages) {
  const Conv2dSpec spec{.in_channels = 3, .out_channels = 8};
  EXPECT_EQ(Refusal([&] {
              spec.OutputShape({4, 3});
            }),
            "conv2d: the input must be [N, H, W, C], got [4, 3]");
}

TEST(Conv2dSpec, SizesOutOfRangeAreRefused) {
  const Conv2dSpec good{.in_channels = 2, .out_channels = 2};
  EXPECT_EQ(good.OutputShape({1, 4, 4, 2}), (Shape{1, 4, 4, 2}));
  Conv2dSpec spec = good;
  spec.kernel_w = 0;
  EXPECT_EQ(Refusal([&] {
              spec.OutputShape({1, 4, 4, 2});
            }),
            "conv2d: kernel and stride must be at least 1 and padding at least 0, got 0, 1, 0");
  spec = good;
  spec.stride_h = 0;
  EXPECT_EQ(Refusal([&] {
              spec.OutputShape({1, 4, 4, 2});
            }),
            "conv2d: kernel and stride must be at least 1 and padding at least 0, got 1, 0, 0");
  spec = good;
  spec.pad_h = -1;
  EXPECT_EQ(Refusal([&] {
              spec.OutputShape({1, 4, 4, 2});
            }),
            "conv2d: kernel and stride must be at least 1 and padding at least 0, got 1, 1, -1");
  spec = good;
  spec.groups = 0;
  EXPECT_NE(Refusal([&] { spec.WeightShape(); }), "not refused");
  EXPECT_NE(Refusal([&] { spec.OutputShape({1, 4, 4, 2}); }), "not refused");
  spec = good;
  spec.out_channels = 0;
  EXPECT_EQ(Refusal([&] {
              spec.OutputShape({1, 4, 4, 2});
            }),
            "conv2d: channels must be at least 1, got 2 in and 0 out");
}

TEST(Pool2dSpec, OutputShapeRoundsDown) {
  const Pool2dSpec halves{.kind = PoolKind::kMax};
  EXPECT_EQ(halves.OutputShape({2, 7, 4, 3}), (Shape{2, 3, 2, 3}));
  const Pool2dSpec resnet{.kind = PoolKind::kMax, .kernel = 3, .stride = 2, .pad = 1};
  EXPECT_EQ(resnet.OutputShape({2, 112, 7, 64}), (Shape{2, 56, 4, 64}));
}

TEST(Pool2dSpec, WindowsOfNothingButPaddingAreRefused) {
  const Pool2dSpec spec{.kind = PoolKind::kAverage, .kernel = 3, .stride = 1, .pad = 2};
  EXPECT_EQ(Refusal([&] {
              spec.OutputShape({1, 8, 8, 1});
            }),
            "pool2d: padding of 2 is more than half of the kernel of 3: some windows would hold "
            "nothing but padding");
}

TEST(Pool2dSpec, WindowThatDoesNotFitIsRefused) {
  const Pool2dSpec spec{.kind = PoolKind::kMax, .kernel = 4, .stride = 4};
  EXPECT_EQ(Refusal([&] {
              spec.OutputShape({1, 8, 3, 1});
            }),
            "pool2d: a kernel of 4 does not fit the input's width of 3 + 2 x 0 padding; use a "
            "smaller kernel, more padding or larger images");
  EXPECT_EQ(Refusal([&] {
              spec.OutputShape({8, 3});
            }),
            "pool2d: the input must be [N, H, W, C], got [8, 3]");
}

TEST(RowLayout, CountsRows) {
  const RowLayout layout{.segments = 3, .samples = 4, .rows_per_sample = 5, .channels = 2};
  EXPECT_EQ(layout.rows_per_segment(), 20);
  EXPECT_EQ(layout.rows(), 60);
}

}  // namespace
}  // namespace syncbn::backend
