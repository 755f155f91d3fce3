// A training step on one core against the convolutions in it, and against a step whose convolutions
// are all direct: ResNet-20 and VGG11-BN, batch 64. Each iteration times all three, one after the
// other; the ratios' spreads are over iterations. Run on one core:
//   taskset -c 0 build/bin/train_step_bench
#include <benchmark/benchmark.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "tests/bench/step_fixture.h"

namespace syncbn::bench {
namespace {

constexpr int64_t kBatch = 64;

struct Convolution {
  backend::Conv2dSpec spec;
  Tensor x, weight, dy, dweight;
  bool first = false;
};

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

// All convolutions of a net, in the order of its parameters; `sizes` are the heights of their inputs.
std::vector<Convolution> Convolutions(const nn::Model& model, const std::vector<int64_t>& sizes,
                                      const std::vector<int64_t>& strides) {
  std::vector<Convolution> all;
  for (const nn::Parameter& parameter : model.parameters().parameters()) {
    if (parameter.shape.rank() != 4) continue;
    const size_t i = all.size();
    if (i >= sizes.size()) std::abort();
    const int64_t kernel = parameter.shape[2];
    Convolution c{.spec = {.in_channels = parameter.shape[1],
                           .out_channels = parameter.shape[0],
                           .kernel_h = kernel,
                           .kernel_w = kernel,
                           .stride_h = strides[i],
                           .stride_w = strides[i],
                           .pad_h = kernel / 2,
                           .pad_w = kernel / 2},
                  .first = i == 0};
    const Shape x{kBatch, sizes[i], sizes[i], c.spec.in_channels};
    c.x = Tensor::Zeros(x, DType::kFloat32);
    c.weight = Tensor::Zeros(parameter.shape, DType::kFloat32);
    c.dy = Tensor::Zeros(c.spec.OutputShape(x), DType::kFloat32);
    c.dweight = Tensor::Zeros(parameter.shape, DType::kFloat32);
    all.push_back(c);
  }
  // The list of sizes is written by hand: it must fit the model.
  if (all.size() != sizes.size()) {
    std::fprintf(stderr, "the model has %zu convolutions, not %zu\n", all.size(), sizes.size());
    std::abort();
  }
  return all;
}

double TimeConvolutions(backend::Executor& executor, std::vector<Convolution>& all) {
  executor.SetWeightsVersion(backend::WeightsVersion::New());
  const auto start = std::chrono::steady_clock::now();
  for (Convolution& c : all) {
    benchmark::DoNotOptimize(executor.Conv2dForward(c.spec, c.x, c.weight, Tensor()));
  }
  for (auto c = all.rbegin(); c != all.rend(); ++c) {
    executor.Conv2dBackwardWeights(c->spec, c->x, c->dy, {c->dweight, false}, {});
    if (!c->first) {
      benchmark::DoNotOptimize(executor.Conv2dBackwardInput(c->spec, c->x.shape(), c->dy, c->weight));
    }
  }
  return Seconds(start);
}

void BM_StepOverConvolutions(benchmark::State& state, const std::string& architecture,
                             const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides) {
  const auto backend = backend::MakeCpuBackend();
  StepFixture fixture({.architecture = architecture, .batch_per_replica = kBatch}, *backend);
  StepFixture direct({.architecture = architecture, .batch_per_replica = kBatch, .direct = true},
                     *backend);
  std::vector<Convolution> convolutions = Convolutions(fixture.model(), sizes, strides);
  const auto executor = backend->WithConvolutions(backend::ConvolutionForms::kAuto)->MakeExecutor();
  // Warm up, and check that the step learns before it is timed.
  fixture.Step();
  direct.Step();
  const double before = fixture.loss();
  // Of the first step: rounding grows a hundredfold with every one.
  if (!(std::abs(direct.loss() - before) < 1e-5 * before)) {
    return state.SkipWithError("the forms of convolutions differ in the loss");
  }
  for (int i = 0; i < 4; ++i) {
    fixture.Step();
    direct.Step();
  }
  if (!(fixture.loss() < before)) return state.SkipWithError("the step does not learn");
  TimeConvolutions(*executor, convolutions);
  std::vector<double> ratios, gains, steps, convs;
  for (auto _ : state) {
    convs.push_back(TimeConvolutions(*executor, convolutions));
    const auto start = std::chrono::steady_clock::now();
    fixture.Step();
    steps.push_back(Seconds(start));
    ratios.push_back(steps.back() / convs.back());
    state.SetIterationTime(steps.back());
    const auto start_of_direct = std::chrono::steady_clock::now();
    direct.Step();
    gains.push_back(Seconds(start_of_direct) / steps.back());
  }
  const Spread ratio = SpreadOf(ratios);
  state.counters["ratio"] = ratio.median;
  state.counters["ratio_min"] = ratio.min;
  state.counters["ratio_max"] = ratio.max;
  const Spread gain = SpreadOf(gains);
  state.counters["direct_over_auto"] = gain.median;
  state.counters["direct_over_auto_min"] = gain.min;
  state.counters["direct_over_auto_max"] = gain.max;
  state.counters["step_ms"] = 1000 * SpreadOf(steps).median;
  state.counters["convolutions_ms"] = 1000 * SpreadOf(convs).median;
}

// ResNet-20: stem, 3 stages of 3 blocks; the first block of stages 2 and 3 strides and has a projection,
// whose weights come after the block's own.
const std::vector<int64_t> kResnetSizes = {32, 32, 32, 32, 32, 32, 32, 32, 16, 32, 16, 16,
                                           16, 16, 16, 8, 16, 8, 8, 8, 8};
const std::vector<int64_t> kResnetStrides = {1, 1, 1, 1, 1, 1, 1, 2, 1, 2, 1, 1, 1, 1, 2, 1, 2, 1, 1, 1, 1};
const std::vector<int64_t> kVggSizes = {32, 16, 8, 8, 4, 4, 2, 2};
const std::vector<int64_t> kVggStrides = {1, 1, 1, 1, 1, 1, 1, 1};

BENCHMARK_CAPTURE(BM_StepOverConvolutions, resnet20, "resnet20", kResnetSizes, kResnetStrides)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(30);
BENCHMARK_CAPTURE(BM_StepOverConvolutions, vgg11, "vgg11", kVggSizes, kVggStrides)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(15);

}  // namespace
}  // namespace syncbn::bench

BENCHMARK_MAIN();
