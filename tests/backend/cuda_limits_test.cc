// Convolutions of sizes that cuDNN cannot be told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/cuda/convolution_limits.h"
#include "base/error.h"

namespace syncbn::backend::cuda {
namespace {

std::string WhyNot(const Conv2dSpec& spec, const Shape& x) {
  try {
    CheckFitsCudnn(spec, x);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.message();
  }
  return "";
}

TEST(ConvolutionLimits, NameTheTensorThatHasTooManyElements) {
  const Conv2dSpec spec{.in_channels = 64, .out_channels = 128};
  const int64_t images = (int64_t{1} << 31) / (64 * 64 * 64);
  EXPECT_EQ(WhyNot(spec, {images / 2 - 1, 64, 64, 64}), "");
  EXPECT_EQ(WhyNot(spec, {images / 2, 64, 64, 64}),
            "convolution 64 -> 128, window 1 x 1, stride 1 x 1, padding 0 x 0, groups 1, of [4096, "
            "64, 64, 64]: its output [4096, 64, 64, 128] has 2147483648 elements, and cuDNN counts "
            "to 2147483647: a smaller batch per replica has fewer");
  EXPECT_THAT(WhyNot(spec, {images, 64, 64, 64}),
              testing::HasSubstr("its input [8192, 64, 64, 64]"));
  EXPECT_THAT(WhyNot({.in_channels = 1 << 16, .out_channels = 1 << 15}, {1, 1, 1, 1 << 16}),
              testing::HasSubstr("its filter [32768, 65536, 1, 1]"));
}

TEST(ConvolutionLimits, NoSizeIsCutOff) {
  EXPECT_THAT(
      WhyNot({.in_channels = 1, .out_channels = 1, .stride_h = int64_t{1} << 32}, {1, 1, 1, 1}),
      testing::HasSubstr("cuDNN counts to 2147483647, not to 4294967296"));
}

}  // namespace
}  // namespace syncbn::backend::cuda
