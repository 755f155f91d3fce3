// Rates of the row kernels beside the rate of a copy of as many bytes, taken in turns in one run.
//
//   build/bin/row_kernels_bench                               all kernels
//   build/bin/row_kernels_bench --benchmark_filter=moments    one of them
//
// Bytes are what is read plus what is written; the copy is std::memcpy of half as many. `of_copy`
// is the kernel's rate over the copy's (1 = as fast as copying), the median over rounds; `low` and
// `high` are its quartiles. Every kernel's result is compared with plain loops in double before it
// is timed.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "backend/cpu/isa.h"
#include "backend/cpu/kernels/kernel_table.h"
#include "base/rng.h"
#include "tensor/tensor.h"

namespace syncbn::backend::cpu {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

// Everything the kernels of one case read and write.
struct Data {
  Segments layout;
  int64_t count;
  Tensor x, dy, y, dx, residual, gamma, beta, mean, inv_std, m2, a, b, scratch;

  explicit Data(const Segments& shape)
      : layout(shape), count(shape.segments * shape.rows * shape.channels) {
    const Shape flat{count};
    const Shape statistics{shape.segments * shape.channels};
    for (Tensor* tensor : {&x, &dy, &y, &dx, &residual})
      *tensor = Tensor::Zeros(flat, DType::kFloat32);
    for (Tensor* tensor : {&mean, &inv_std, &m2, &a, &b}) {
      *tensor = Tensor::Zeros(statistics, DType::kFloat64);
    }
    gamma = Tensor::Zeros({shape.channels}, DType::kFloat32);
    beta = Tensor::Zeros({shape.channels}, DType::kFloat32);
    scratch = Tensor({static_cast<int64_t>(ScratchBytes(shape.channels))}, DType::kUint8);
    RandomStream random{RandomKey(1)};
    for (int64_t i = 0; i < count; ++i) {
      x.Data<float>()[i] = 2 * random.Uniform() + 0.5f;
      dy.Data<float>()[i] = random.Uniform() - 0.5f;
    }
    for (int64_t c = 0; c < shape.channels; ++c) {
      gamma.Data<float>()[c] = 1 + random.Uniform();
      beta.Data<float>()[c] = random.Uniform() - 0.5f;
    }
    for (int64_t c = 0; c < statistics.elements(); ++c) {
      mean.Data<double>()[c] = 1.5;
      inv_std.Data<double>()[c] = 1.7;
      a.Data<double>()[c] = 0.01;
      b.Data<double>()[c] = 0.02;
    }
  }

  NormalizeArgs Norm() const {
    return {layout,
            mean.Data<double>(),
            inv_std.Data<double>(),
            gamma.Data<float>(),
            beta.Data<float>(),
            true,
            x.Data<float>()};
  }
};

[[noreturn]] void Wrong(const std::string& what, double got, double want) {
  std::fprintf(stderr, "%s is wrong: %.9g, not %.9g\n", what.c_str(), got, want);
  std::exit(1);
}

void ExpectClose(const std::string& what, double got, double want, double scale) {
  if (!(std::abs(got - want) <= 1e-5 * scale)) Wrong(what, got, want);
}

struct Kernel {
  std::string name;
  int streams;  // arrays of `count` floats read or written
  std::function<void(const KernelTable&, Data&)> run;
  std::function<void(Data&)> verify;
};

double PreActivation(const Data& d, int64_t i) {
  const int64_t c = i % d.layout.channels;
  return d.gamma.Data<float>()[c] * 1.7 * (d.x.Data<float>()[i] - 1.5) + d.beta.Data<float>()[c];
}

std::vector<Kernel> MakeKernels() {
  std::vector<Kernel> kernels;
  kernels.push_back({"moments", 1,
                     [](const KernelTable& k, Data& d) {
                       k.moments(d.layout, d.x.Data<float>(), d.a.Data<double>(),
                                 d.m2.Data<double>(), d.layout.channels, d.scratch.Data<uint8_t>());
                     },
                     [](Data& d) {
                       for (int64_t c = 0; c < d.layout.channels; ++c) {
                         double sum = 0, squares = 0;
                         for (int64_t r = 0; r < d.layout.rows; ++r) {
                           sum += d.x.Data<float>()[r * d.layout.channels + c];
                         }
                         const double mean = sum / static_cast<double>(d.layout.rows);
                         for (int64_t r = 0; r < d.layout.rows; ++r) {
                           const double e = d.x.Data<float>()[r * d.layout.channels + c] - mean;
                           squares += e * e;
                         }
                         ExpectClose("mean", d.a.Data<double>()[c], mean, 0.01);
                         ExpectClose("M2", d.m2.Data<double>()[c], squares, 0.1 * squares);
                         d.a.Data<double>()[c] = 0.01;
                       }
                     }});
  kernels.push_back({"normalize_relu", 2,
                     [](const KernelTable& k, Data& d) {
                       k.normalize(d.Norm(), nullptr, d.y.Data<float>(), d.scratch.Data<uint8_t>());
                     },
                     [](Data& d) {
                       for (int64_t i = 0; i < d.count; ++i) {
                         ExpectClose("y", d.y.Data<float>()[i], std::max(0.0, PreActivation(d, i)),
                                     1);
                       }
                     }});
  kernels.push_back({"backward_sums", 2,
                     [](const KernelTable& k, Data& d) {
                       k.normalize_sums(d.Norm(), nullptr, d.dy.Data<float>(), d.a.Data<double>(),
                                        d.b.Data<double>(), d.scratch.Data<uint8_t>());
                     },
                     [](Data& d) {
                       const int64_t channels = d.layout.channels, rows = d.layout.rows;
                       const size_t size = static_cast<size_t>(d.layout.segments * channels);
                       std::vector<double> sums(size), products(size);
                       for (int64_t i = 0; i < d.count; ++i) {
                         if (PreActivation(d, i) <= 0) continue;
                         const double g = d.dy.Data<float>()[i];
                         const int64_t c = i / (rows * channels) * channels + i % channels;
                         sums[c] += g;
                         products[c] += g * (d.x.Data<float>()[i] - 1.5) * 1.7;
                       }
                       // A value within rounding of zero may pass the ReLU on one side only.
                       const double scale = static_cast<double>(rows) + 1e5;
                       for (size_t c = 0; c < size; ++c) {
                         ExpectClose("sum_dy", d.a.Data<double>()[c], sums[c], scale);
                         ExpectClose("sum_dy_xhat", d.b.Data<double>()[c], products[c], scale);
                         d.a.Data<double>()[c] = 0.01;
                         d.b.Data<double>()[c] = 0.02;
                       }
                     }});
  kernels.push_back({"backward_input", 3,
                     [](const KernelTable& k, Data& d) {
                       k.normalize_input(d.Norm(),
                                         {nullptr, d.dy.Data<float>(), d.a.Data<double>(),
                                          d.b.Data<double>(), d.dx.Data<float>(), nullptr},
                                         d.scratch.Data<uint8_t>());
                     },
                     [](Data& d) {
                       for (int64_t i = 0; i < d.count; ++i) {
                         const double g = PreActivation(d, i) > 0 ? d.dy.Data<float>()[i] : 0;
                         const double xhat = (d.x.Data<float>()[i] - 1.5) * 1.7;
                         const double gamma = d.gamma.Data<float>()[i % d.layout.channels];
                         const double want = 1.7 * (gamma * g - 0.01 - xhat * 0.02);
                         const bool at_border = std::abs(PreActivation(d, i)) < 1e-6;
                         if (!at_border) ExpectClose("dx", d.dx.Data<float>()[i], want, 1);
                       }
                     }});
  kernels.push_back({"add", 3,
                     [](const KernelTable& k, Data& d) {
                       k.add(d.x.Data<float>(), d.dy.Data<float>(), d.dx.Data<float>(), d.count);
                     },
                     [](Data& d) {
                       for (int64_t i = 0; i < d.count; ++i) {
                         ExpectClose("sum", d.dx.Data<float>()[i],
                                     d.x.Data<float>()[i] + d.dy.Data<float>()[i], 1);
                       }
                     }});
  return kernels;
}

void Measure(benchmark::State& state, const KernelTable& table, const Kernel& kernel,
             const Segments& layout) {
  Data data(layout);
  kernel.run(table, data);
  kernel.verify(data);

  const size_t bytes = static_cast<size_t>(data.count) * 4 * static_cast<size_t>(kernel.streams);
  Tensor from = Tensor::Zeros({static_cast<int64_t>(bytes / 2)}, DType::kUint8);
  Tensor to = Tensor::Zeros({static_cast<int64_t>(bytes / 2)}, DType::kUint8);
  const auto copy = [&] {
    std::memcpy(to.Data<uint8_t>(), from.Data<uint8_t>(), bytes / 2);
    benchmark::ClobberMemory();
  };
  // Rounds long enough for the clock, short enough that a disturbance hits few of them.
  const int repeats = static_cast<int>(std::max<size_t>(1, (size_t{16} << 20) / bytes));
  std::vector<double> ratios;
  double kernel_time = 0, copy_time = 0;
  for (auto _ : state) {
    const auto start = Clock::now();
    // The first of each kind brings its own data back into the cache.
    copy();
    const auto copy_begin = Clock::now();
    for (int i = 0; i < repeats; ++i) copy();
    const auto copy_end = Clock::now();
    kernel.run(table, data);
    const auto kernel_begin = Clock::now();
    for (int i = 0; i < repeats; ++i) kernel.run(table, data);
    const auto kernel_end = Clock::now();
    state.SetIterationTime(Seconds(start, kernel_end));
    ratios.push_back(Seconds(copy_begin, copy_end) / Seconds(kernel_begin, kernel_end));
    copy_time += Seconds(copy_begin, copy_end);
    kernel_time += Seconds(kernel_begin, kernel_end);
  }
  std::sort(ratios.begin(), ratios.end());
  const double total = static_cast<double>(bytes) * repeats * static_cast<double>(ratios.size());
  state.counters["GB/s"] = total / kernel_time / 1e9;
  state.counters["copy_GB/s"] = total / copy_time / 1e9;
  state.counters["of_copy"] = ratios[ratios.size() / 2];
  state.counters["low"] = ratios[ratios.size() / 4];
  state.counters["high"] = ratios[ratios.size() * 3 / 4];
}

void Register() {
  for (Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
    if (!IsaAvailable(isa)) continue;
    const KernelTable& table = Kernels(isa);
    const auto add = [&](const Kernel& kernel, const std::string& place, const Segments& layout) {
      const std::string name = kernel.name + "/" + std::string(IsaName(isa)) + "/" + place +
                               "/segments:" + std::to_string(layout.segments) +
                               "/channels:" + std::to_string(layout.channels);
      benchmark::RegisterBenchmark(name.c_str(),
                                   [&table, kernel, layout](benchmark::State& state) {
                                     Measure(state, table, kernel, layout);
                                   })
          ->UseManualTime()
          ->MinTime(place == "dram" ? 1.0 : 0.2);
    };
    for (const Kernel& kernel : MakeKernels()) {
      for (int64_t channels : {1, 3, 10, 16, 32, 64, 256, 512}) {
        add(kernel, "L2", {1, (int64_t{640} << 10) / 4 / kernel.streams / channels, channels});
      }
      for (int64_t channels : {16, 64, 512}) {
        add(kernel, "dram", {1, (int64_t{256} << 20) / 4 / kernel.streams / channels, channels});
      }
      // Statistics of each sample: instance norm of 8 x 8 images, and vectors of 1,024 features.
      add(kernel, "L2", {(int64_t{640} << 10) / 4 / kernel.streams / 64 / 16, 64, 16});
      add(kernel, "L2", {(int64_t{640} << 10) / 4 / kernel.streams / 64 / 64, 64, 64});
      add(kernel, "L2", {(int64_t{640} << 10) / 4 / kernel.streams / 1024, 1024, 1});
    }
  }
}

}  // namespace
}  // namespace syncbn::backend::cpu

int main(int argc, char** argv) {
  syncbn::backend::cpu::Register();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
