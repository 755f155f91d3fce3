// Convolutions of 3 x 3 by their definition (oneDNN) and in Winograd's forms, each pass by itself,
// on one core, in turns. src/backend/cpu/convolution_choice.cc is fitted to it.
//
//   build/bin/convolution_bench                            the layers of the models that are built in
//   build/bin/convolution_bench --shape 64,16,16,32,48     images, height, width, channels in and out
//
// A line for each layer and pass: GFLOP/s of the direct form (by its own count of multiplications),
// how often the time of each tile goes into that of the direct form (median over rounds,
// quartiles), and what is chosen. Results are compared with those of the direct form before
// anything is timed.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "backend/cpu/convolution.h"
#include "backend/cpu/convolution_choice.h"
#include "backend/cpu/isa.h"
#include "base/rng.h"

namespace syncbn::backend::cpu {
namespace {

struct Layer {
  long images, height, width, in, out;
};

// ResNet-20, VGG11 (32 x 32), ResNet-9, ResNet-50's.
constexpr Layer kLayers[] = {{64, 32, 32, 16, 16},   {64, 16, 16, 32, 32},  {64, 8, 8, 64, 64},
                             {64, 32, 32, 3, 64},    {64, 16, 16, 64, 128}, {64, 8, 8, 128, 256},
                             {64, 8, 8, 256, 256},   {64, 4, 4, 256, 512},  {64, 4, 4, 512, 512},
                             {64, 2, 2, 512, 512},   {64, 32, 32, 64, 128}, {64, 16, 16, 128, 128},
                             {64, 16, 16, 128, 256}, {64, 8, 8, 256, 512},  {8, 56, 56, 64, 64},
                             {8, 28, 28, 128, 128},  {8, 14, 14, 256, 256}, {8, 7, 7, 512, 512}};
constexpr WinogradTile kTiles[] = {{4, 4}, {4, 2}, {2, 2}};
constexpr size_t kForms = 1 + std::size(kTiles);

Tensor Random(const Shape& shape, RandomStream& random, double scale) {
  Tensor x(shape, DType::kFloat32);
  for (float& value : x.Span<float>()) {
    value = static_cast<float>(scale * (2 * random.Uniform() - 1));
  }
  return x;
}

double Median(std::vector<double> values, double share = 0.5) {
  std::ranges::sort(values);
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
}

void RequireClose(const Tensor& actual, const Tensor& expected, const char* what) {
  double most = 0, largest = 0;
  bool numbers = true;
  for (int64_t i = 0; i < expected.elements(); ++i) {
    const double value = expected.Data<float>()[i];
    const double error = std::abs(actual.Data<float>()[i] - value);
    numbers &= std::isfinite(error);
    most = std::max(most, error);
    largest = std::max(largest, std::abs(value));
  }
  if (numbers && most <= 1e-4 * largest) return;
  std::fprintf(stderr, "%s differs from the direct form by %g of %g\n", what, most, largest);
  std::exit(1);
}

void Measure(const Layer& layer) {
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  DnnlSession session(engine);
  PackedWeights packed;
  const KernelTable& kernels = Kernels(BestIsa());
  Convolutions direct(ConvolutionForms::kDirect, kernels, session, packed);
  WinogradConvolutions winograd(kernels, session, packed);
  const Conv2dSpec spec{.in_channels = layer.in,
                        .out_channels = layer.out,
                        .kernel_h = 3,
                        .kernel_w = 3,
                        .pad_h = 1,
                        .pad_w = 1};
  const Shape shape{layer.images, layer.height, layer.width, layer.in};
  RandomStream random{RandomKey(1)};
  const Tensor x = Random(shape, random, 1), weight = Random(spec.WeightShape(), random, 0.1);
  const Tensor dy = Random(spec.OutputShape(shape), random, 1);
  const auto version = WeightsVersion::New();
  direct.SetWeightsVersion(version);
  const auto results = [&](const Shape& of) {
    std::array<Tensor, kForms> tensors;
    for (Tensor& tensor : tensors) tensor = Tensor::Zeros(of, DType::kFloat32);
    return tensors;
  };
  auto y = results(dy.shape()), dx = results(shape), dweight = results(weight.shape());
  const Tensor none;
  const auto run = [&](ConvolutionPass pass, size_t form) {
    const bool is_direct = form == 0;
    const WinogradTile& tile = kTiles[is_direct ? 0 : form - 1];
    switch (pass) {
      case ConvolutionPass::kForward:
        return is_direct ? direct.Forward(spec, x, weight, none, y[0])
                         : winograd.Forward(tile, spec, version, x, weight, none, y[form]);
      case ConvolutionPass::kBackwardInput:
        return is_direct ? direct.BackwardInput(spec, dy, weight, dx[0])
                         : winograd.BackwardInput(tile, spec, version, dy, weight, dx[form]);
      case ConvolutionPass::kBackwardWeights:
        return is_direct ? direct.BackwardWeights(spec, x, dy, dweight[0], false)
                         : winograd.BackwardWeights(tile, spec, x, dy, dweight[form], false);
    }
  };
  constexpr const char* kNames[] = {"forward", "input", "weights"};
  std::array<Tensor, kForms>* const outputs[] = {&y, &dx, &dweight};
  const double flops = 18.0 * static_cast<double>(layer.images * layer.height * layer.width) *
                       static_cast<double>(layer.in * layer.out);
  for (int i = 0; i < 3; ++i) {
    const auto pass = static_cast<ConvolutionPass>(i);
    for (size_t form = 0; form < kForms; ++form) {
      run(pass, form);
      RequireClose((*outputs[i])[form], (*outputs[i])[0], kNames[i]);
    }
    std::vector<double> seconds, gain[kForms];
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    while (seconds.size() < 7 || Clock::now() - start < std::chrono::milliseconds(700)) {
      double took[kForms];
      for (size_t form = 0; form < kForms; ++form) {
        const auto begin = Clock::now();
        run(pass, form);
        took[form] = std::chrono::duration<double>(Clock::now() - begin).count();
      }
      seconds.push_back(took[0]);
      for (size_t form = 1; form < kForms; ++form) gain[form].push_back(took[0] / took[form]);
    }
    std::printf("%4ld x %2ld x %2ld, %3ld to %3ld  %-8s %4.0f GFLOP/s", layer.images, layer.height,
                layer.width, layer.in, layer.out, kNames[i], flops / Median(seconds) / 1e9);
    for (size_t form = 1; form < kForms; ++form) {
      std::printf("   %ldx%ld %4.2f (%4.2f-%4.2f)", static_cast<long>(kTiles[form - 1].down),
                  static_cast<long>(kTiles[form - 1].across), Median(gain[form]),
                  Median(gain[form], 0.25), Median(gain[form], 0.75));
    }
    const auto chosen = ChooseWinograd(pass, spec, shape, BestIsa());
    std::printf("   %s\n", !chosen               ? "direct"
                           : chosen->across == 4 ? "4x4"
                           : chosen->down == 4   ? "4x2"
                                                 : "2x2");
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace syncbn::backend::cpu

int main(int argc, char** argv) {
  using namespace syncbn::backend::cpu;
  if (argc == 1) {
    for (const Layer& layer : kLayers) Measure(layer);
    return 0;
  }
  Layer layer{};
  if (argc != 3 || std::strcmp(argv[1], "--shape") != 0 ||
      std::sscanf(argv[2], "%ld,%ld,%ld,%ld,%ld", &layer.images, &layer.height, &layer.width,
                  &layer.in, &layer.out) != 5) {
    std::fprintf(stderr, "usage: %s [--shape images,height,width,in,out]\n", argv[0]);
    return 2;
  }
  Measure(layer);
}
