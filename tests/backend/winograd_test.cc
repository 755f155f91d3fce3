// Winograd's convolutions: what they compute, and how far they may be from it.
#include "backend/cpu/winograd.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <string>

#include "backend/backend.h"
#include "backend/cpu/convolution_choice.h"
#include "backend/cpu/cpu_backend.h"
#include "tests/backend/support.h"

namespace syncbn::backend::cpu {
namespace {

constexpr WinogradTile kTiles[] = {{4, 4}, {4, 2}, {2, 2}};

Conv2dSpec Conv3x3(int64_t in, int64_t out, int64_t pad_h = 1, int64_t pad_w = 1) {
  return {.in_channels = in,
          .out_channels = out,
          .kernel_h = 3,
          .kernel_w = 3,
          .pad_h = pad_h,
          .pad_w = pad_w};
}

// One layer and its three passes, in double.
struct Layer {
  Conv2dSpec spec;
  Tensor x, weight, bias, dy;
  Tensor y, dx, dweight;

  Layer(const Conv2dSpec& conv, const Shape& shape, bool relu) : spec(conv) {
    x = RandomNormal(shape, "x", relu ? 0.5 : 0);
    if (relu) {
      for (double& value : x.Span<double>()) value = std::max(value, 0.0);
    }
    // He et al. 2015
    weight = RandomNormal(conv.WeightShape(), "weight", 0,
                          std::sqrt(2.0 / static_cast<double>(9 * conv.in_channels)));
    bias = RandomNormal({conv.out_channels}, "bias");
    dy = RandomNormal(conv.OutputShape(shape), "dy", 0, 1e-3);
    const auto reference = MakeReferenceBackend()->MakeExecutor();
    y = reference->Conv2dForward(spec, x, weight, {});
    dx = reference->Conv2dBackwardInput(spec, shape, dy, weight);
    dweight = Tensor::Zeros(conv.WeightShape(), DType::kFloat64);
    reference->Conv2dBackwardWeights(spec, x, dy, {.tensor = dweight}, {});
  }
};

std::string Describe(const Layer& layer) {
  return layer.x.shape().ToString() + " to " + std::to_string(layer.spec.out_channels) +
         " channels, padding " + std::to_string(layer.spec.pad_h) + " x " +
         std::to_string(layer.spec.pad_w);
}

// -- What is computed ----------------------------------------------------------------------------

class WinogradTest : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!IsaAvailable(GetParam())) GTEST_SKIP() << "this machine has no " << IsaName(GetParam());
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  DnnlSession session_{engine_};
  PackedWeights packed_;
  WinogradConvolutions winograd_{Kernels(GetParam()), session_, packed_};
};

TEST_P(WinogradTest, IsTheConvolutionAndItsGradients) {
  const Layer layers[] = {
      // Whole tiles; sides that end in the middle of one; images smaller than a tile or not square.
      Layer(Conv3x3(16, 16), {2, 8, 8, 16}, false),
      Layer(Conv3x3(24, 40), {3, 7, 5, 24}, false),
      Layer(Conv3x3(13, 21), {2, 9, 6, 13}, true),
      Layer(Conv3x3(33, 17), {5, 1, 3, 33}, false),
      Layer(Conv3x3(16, 3), {1, 2, 11, 16}, false),
      Layer(Conv3x3(1, 1), {1, 4, 4, 1}, false),
      // More tiles than are taken at a time.
      Layer(Conv3x3(8, 8), {9, 24, 24, 8}, false),
      // Without padding, and with more on one side.
      Layer(Conv3x3(8, 20, 0, 0), {2, 6, 7, 8}, false),
      Layer(Conv3x3(16, 16, 0, 2), {2, 5, 4, 16}, false),
      Layer(Conv3x3(160, 144), {1, 5, 5, 160}, false),
  };
  for (const Layer& layer : layers) {
    const Tensor x = As(layer.x, DType::kFloat32), weight = As(layer.weight, DType::kFloat32);
    const Tensor bias = As(layer.bias, DType::kFloat32), dy = As(layer.dy, DType::kFloat32);
    const Tensor biased = MakeReferenceBackend()->MakeExecutor()->Conv2dForward(
        layer.spec, layer.x, layer.weight, layer.bias);
    for (const WinogradTile& tile : kTiles) {
      SCOPED_TRACE(Describe(layer) + ", tiles of " + std::to_string(tile.down) + " x " +
                   std::to_string(tile.across));
      for (const WeightsVersion version : {WeightsVersion(), WeightsVersion::New()}) {
        Tensor y = Filled(dy.shape(), 77), dx = Filled(x.shape(), 77);
        Tensor with_bias = As(y, DType::kFloat32);
        y = As(y, DType::kFloat32), dx = As(dx, DType::kFloat32);
        winograd_.Forward(tile, layer.spec, version, x, weight, {}, y);
        EXPECT_TRUE(Near(y, layer.y, 1e-5));
        winograd_.Forward(tile, layer.spec, version, x, weight, bias, with_bias);
        EXPECT_TRUE(Near(with_bias, biased, 1e-5));
        // The same weights in another packing, of as many bytes where channels are as many.
        winograd_.BackwardInput(tile, layer.spec, version, dy, weight, dx);
        EXPECT_TRUE(Near(dx, layer.dx, 1e-5));
      }
      Tensor dweight = As(Filled(weight.shape(), 77), DType::kFloat32);
      winograd_.BackwardWeights(tile, layer.spec, x, dy, dweight, false);
      EXPECT_TRUE(Near(dweight, layer.dweight, 1e-5));
      winograd_.BackwardWeights(tile, layer.spec, x, dy, dweight, true);
      Tensor twice = layer.dweight.Clone();
      for (double& value : twice.Span<double>()) value *= 2;
      EXPECT_TRUE(Near(dweight, twice, 1e-5));
    }
  }
}

// Evaluation takes other batches than training, and the last batch of an epoch is shorter.
TEST_P(WinogradTest, AnImageHasTheSameBitsInEveryBatch) {
  // With few channels products take the place of what they are made of.
  for (const int64_t channels : {16, 32}) {
    const Layer layer(Conv3x3(channels, channels), {7, 10, 10, channels}, true);
    const Tensor x = As(layer.x, DType::kFloat32), weight = As(layer.weight, DType::kFloat32);
    for (const WinogradTile& tile : kTiles) {
      Tensor all(x.shape(), DType::kFloat32);
      winograd_.Forward(tile, layer.spec, {}, x, weight, {}, all);
      for (int64_t n = 0; n < 7; ++n) {
        const Shape one{1, 10, 10, channels};
        Tensor image(one, DType::kFloat32), y(one, DType::kFloat32);
        std::ranges::copy(x.Span<float>().subspan(static_cast<size_t>(n * one.elements()),
                                                  static_cast<size_t>(one.elements())),
                          image.Span<float>().begin());
        winograd_.Forward(tile, layer.spec, {}, image, weight, {}, y);
        EXPECT_TRUE(std::ranges::equal(
            y.Span<float>(), all.Span<float>().subspan(static_cast<size_t>(n * one.elements()),
                                                       static_cast<size_t>(one.elements()))))
            << "image " << n << " of " << channels << " channels";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, WinogradTest, ::testing::Values(Isa::kAvx2, Isa::kAvx512),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

// -- How far from it -----------------------------------------------------------------------------

double Distance(const Tensor& actual, const Tensor& exact) {
  double sum = 0;
  for (int64_t i = 0; i < exact.elements(); ++i) {
    const double error = actual.Data<float>()[i] - exact.Data<double>()[i];
    sum += error * error;
  }
  return std::sqrt(sum);
}

TEST(WinogradAccuracy, IsAtWorstTwiceAsFarFromTheExactResultAsTheDirectForm) {
  constexpr Isa kIsa = Isa::kAvx2;
  if (!IsaAvailable(kIsa)) GTEST_SKIP() << "this machine has no " << IsaName(kIsa);
  const auto direct = CpuBackend(kIsa).MakeExecutor();
  const auto fast = CpuBackend(kIsa, AllocateAligned, ConvolutionForms::kAuto).MakeExecutor();
  struct Case {
    int64_t images, height, width, in, out, padding = 1;
  };
  int chosen[3] = {};
  for (const Case& c :
       {Case{2, 32, 32, 16, 16}, Case{2, 8, 8, 16, 16}, Case{1, 4, 4, 16, 16},
        Case{4, 16, 16, 32, 32}, Case{2, 7, 7, 32, 32}, Case{4, 8, 8, 64, 64},
        Case{2, 5, 5, 24, 40}, Case{2, 9, 11, 37, 21}, Case{2, 8, 8, 128, 128},
        Case{2, 14, 14, 96, 48}, Case{2, 4, 4, 256, 256}, Case{1, 4, 4, 512, 512},
        Case{64, 2, 2, 64, 64}, Case{8, 8, 8, 64, 64}, Case{16, 8, 8, 64, 64},
        Case{64, 4, 4, 64, 64}, Case{32, 4, 4, 64, 64}, Case{5, 14, 14, 64, 32},
        // Tiles that would lie on padding for the greater part.
        Case{51, 2, 5, 24, 24, 2}, Case{128, 2, 2, 16, 16, 2}, Case{32, 2, 8, 24, 24, 2},
        Case{20, 2, 5, 64, 64, 2}, Case{50, 2, 2, 96, 96, 2}, Case{64, 4, 2, 16, 16},
        Case{16, 6, 6, 32, 32, 2}, Case{16, 8, 8, 32, 32, 0}}) {
    for (const bool relu : {false, true}) {
      const Layer layer(Conv3x3(c.in, c.out, c.padding, c.padding),
                        {c.images, c.height, c.width, c.in}, relu);
      SCOPED_TRACE(Describe(layer) + (relu ? ", positive inputs" : ""));
      const Tensor x = As(layer.x, DType::kFloat32), weight = As(layer.weight, DType::kFloat32);
      const Tensor dy = As(layer.dy, DType::kFloat32);
      const auto far = [&](Executor& executor, double distances[3]) {
        distances[0] = Distance(executor.Conv2dForward(layer.spec, x, weight, {}), layer.y);
        distances[1] =
            Distance(executor.Conv2dBackwardInput(layer.spec, x.shape(), dy, weight), layer.dx);
        const Tensor dweight = Tensor::Zeros(weight.shape(), DType::kFloat32);
        executor.Conv2dBackwardWeights(layer.spec, x, dy, {.tensor = dweight}, {});
        distances[2] = Distance(dweight, layer.dweight);
      };
      double of_direct[3], of_fast[3];
      far(*direct, of_direct);
      far(*fast, of_fast);
      constexpr const char* kNames[] = {"y", "dx", "dweight"};
      for (int i = 0; i < 3; ++i) {
        EXPECT_LE(of_fast[i], 2 * of_direct[i]) << kNames[i];
        const auto pass = static_cast<ConvolutionPass>(i);
        if (ChooseWinograd(pass, layer.spec, x.shape(), kIsa)) {
          EXPECT_NE(of_fast[i], of_direct[i]) << kNames[i] << " was not computed by it";
          ++chosen[i];
        } else {
          EXPECT_EQ(of_fast[i], of_direct[i]) << kNames[i];
        }
      }
    }
  }
  for (const int count : chosen) EXPECT_GE(count, 16);
}

// -- Where ---------------------------------------------------------------------------------------

TEST(WinogradChoice, LooksAtTheBatchForNothingButTheGradientOfTheWeights) {
  for (const int64_t channels : {16, 32, 64, 128, 512}) {
    for (const int64_t side : {2, 3, 4, 7, 8, 14, 32, 56}) {
      const Conv2dSpec spec = Conv3x3(channels, channels);
      for (const auto pass : {ConvolutionPass::kForward, ConvolutionPass::kBackwardInput}) {
        const auto one = ChooseWinograd(pass, spec, {1, side, side, channels}, Isa::kAvx2);
        for (const int64_t images : {2, 64, 1000}) {
          EXPECT_EQ(ChooseWinograd(pass, spec, {images, side, side, channels}, Isa::kAvx2), one)
              << channels << " channels, side " << side;
        }
      }
    }
  }
}

TEST(WinogradChoice, IsForWhatItIsFasterFor) {
  const auto chosen = [](Conv2dSpec spec, Isa isa = Isa::kAvx2) {
    return ChooseWinograd(ConvolutionPass::kForward, spec, {64, 16, 16, spec.in_channels}, isa);
  };
  EXPECT_EQ(chosen(Conv3x3(128, 128)), (WinogradTile{4, 4}));
  EXPECT_EQ(chosen(Conv3x3(64, 64)), (WinogradTile{4, 2}));
  EXPECT_EQ(chosen(Conv3x3(16, 16)), (WinogradTile{4, 2}));
  EXPECT_EQ(chosen(Conv3x3(15, 16)), std::nullopt);
  EXPECT_EQ(chosen(Conv3x3(3, 64)), std::nullopt);
  EXPECT_EQ(chosen(Conv3x3(64, 64), Isa::kAvx512), std::nullopt);
  Conv2dSpec spec = Conv3x3(64, 64);
  spec.stride_h = 2;
  EXPECT_EQ(chosen(spec), std::nullopt);
  spec = Conv3x3(64, 64);
  spec.groups = 2;
  EXPECT_EQ(chosen(spec), std::nullopt);
  spec = Conv3x3(64, 64);
  spec.kernel_w = 1;
  EXPECT_EQ(chosen(spec), std::nullopt);
}

TEST(WinogradChoice, IsNotAskedWhereTheDirectFormIs) {
  const auto make = [](ConvolutionForms forms) {
    return CpuBackend(BestIsa(), AllocateAligned, forms).MakeExecutor();
  };
  const Layer layer(Conv3x3(64, 64), {4, 8, 8, 64}, false);
  const Tensor x = As(layer.x, DType::kFloat32), weight = As(layer.weight, DType::kFloat32);
  const Tensor direct = make(ConvolutionForms::kDirect)->Conv2dForward(layer.spec, x, weight, {});
  EXPECT_TRUE(SameBits(
      direct, CpuBackend(BestIsa()).MakeExecutor()->Conv2dForward(layer.spec, x, weight, {})));
  const bool has =
      ChooseWinograd(ConvolutionPass::kForward, layer.spec, x.shape(), BestIsa()).has_value();
  EXPECT_EQ(
      has,
      !SameBits(direct, make(ConvolutionForms::kAuto)->Conv2dForward(layer.spec, x, weight, {})));
}

}  // namespace
}  // namespace syncbn::backend::cpu
