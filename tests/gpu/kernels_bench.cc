// Kernels of the CUDA back end against a copy on the same device, in bytes a second:
//   build/bin/gpu_kernels_bench [--kib 65536,262144] [--channels 64,256,2048] [--json FILE]
//
// Each is first held against the reference in a small case. Copies and the kernel are timed in
// turns; their ratio is the median over the rounds. Bytes are those that have to be moved: each
// input once, each output once. What is read and written comes from several sets in turns, so that
// a cache larger than one of them holds little of it.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/images.h"
#include "base/error.h"
#include "tests/backend/support.h"

namespace syncbn::backend {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::vector<int64_t> kib = {64 << 10, 256 << 10};
  std::vector<int64_t> channels = {64, 256, 2048};
  std::vector<std::string> precisions = {"float32", "bf16"};
  int sets = 4;
  int rounds = 7;
  double milliseconds = 8;  // of a round, at least
  std::string json;
};

// A tensor of the device with normal numbers, the same in each block of 2^20.
Tensor Draw(Executor& executor, Shape shape, DType type, const std::string& name) {
  constexpr int64_t kBlock = 1 << 20;
  const int64_t elements = shape.elements();
  const Tensor block =
      OnDevice(executor, As(RandomNormal({std::min(kBlock, elements)}, name), type));
  Tensor flat = executor.New({elements}, type);
  for (int64_t at = 0; at < elements; at += kBlock) {
    const Shape part{std::min(kBlock, elements - at)};
    Tensor place = flat.Slice(at, part);
    executor.Copy(block.Slice(0, part), place);
  }
  return flat.Reshape(shape);
}

// Images as of CIFAR-10 that are cropped and flipped, with a part cut out, of about so many values.
RawImages DrawImages(Executor& executor, int64_t values) {
  constexpr int64_t kSide = 32, kChannels = 3, kShapes = 61;
  const int64_t images = std::max<int64_t>(1, values / (kSide * kSide * kChannels));
  Tensor pixels({images, kSide, kSide, kChannels}, DType::kUint8);
  uint32_t drawn = 1;
  for (uint8_t& byte : pixels.Span<uint8_t>()) {
    drawn = drawn * 1664525 + 1013904223;
    byte = static_cast<uint8_t>(drawn >> 24);
  }
  Tensor changes({images, ImageChange::kNumbers}, DType::kInt32);
  for (int64_t i = 0; i < images; ++i) {
    const ImageChange change{
        .dy = i % kShapes % 9 - 4,
        .dx = i % kShapes / 7 - 4,
        .flip = i % 2 == 1,
        .cut = {.top = i % 23, .bottom = i % 23 + 8, .left = i % 19, .right = i % 19 + 8}};
    std::ranges::copy(change.Numbers(), changes.Data<int32_t>() + ImageChange::kNumbers * i);
  }
  const Tensor of_bytes = As(RandomNormal({kChannels, 256}, "values"), DType::kFloat32);
  return {.pixels = executor.ToDevice(pixels, DType::kUint8),
          .changes = executor.ToDevice(changes, DType::kInt32),
          .values = OnDevice(executor, of_bytes)};
}

// What a kernel works on.
struct Inputs {
  Inputs(Executor& executor, int64_t rows, int64_t channels);

  RowLayout layout;
  Normalization norm;
  InputTerms terms;
  Tensor x, dy, residual, y;  // activations, [rows, channels]; y is after residual and ReLU
  Tensor parameters, gradients, mean, square;  // flat, as many elements as x
  Tensor verdict, updates;
  RawImages raw;
};

Inputs::Inputs(Executor& executor, int64_t rows, int64_t channels)
    : layout{.segments = 1, .samples = rows, .channels = channels} {
  const DType activations = executor.types().activations, wide = DType::kFloat64;
  const DType weights = executor.types().parameters;
  const auto drawn = [&](const char* name) {
    return Draw(executor, {rows, channels}, activations, name);
  };
  x = drawn("x");
  dy = drawn("dy");
  residual = drawn("residual");
  norm = {.layout = layout,
          .mean = Draw(executor, {1, channels}, wide, "mean"),
          .inv_std = OnDevice(executor, Filled({1, channels}, 1.25)),
          .gamma = Draw(executor, {channels}, weights, "gamma"),
          .beta = Draw(executor, {channels}, weights, "beta"),
          .relu = true};
  terms = {.mean_dy = Draw(executor, {1, channels}, wide, "mean_dy"),
           .mean_dy_xhat = Draw(executor, {1, channels}, wide, "mean_dy_xhat")};
  y = executor.NormalizeForward(norm, x, residual);
  const Shape flat{rows * channels};
  parameters = Draw(executor, flat, weights, "parameters");
  gradients = Draw(executor, flat, executor.types().gradients, "gradients");
  mean = executor.NewZeros(flat, weights);
  square = executor.NewZeros(flat, weights);
  verdict = OnDevice(executor, FromValues({verdict::kElements}, {1, 1, 1}));
  updates = executor.NewZeros({1}, wide);
  raw = DrawImages(executor, rows * channels);
}

struct Kernel {
  std::string name;
  // How often it reads or writes as many activations, or as many parameters, as x has elements.
  double activations = 0, parameters = 0;
  std::function<std::vector<Tensor>(Executor&, Inputs&)> run;
  // It makes images: an activation for each byte that it reads.
  bool images = false;

  double Bytes(const Executor& executor, const Inputs& in) const {
    const auto elements = static_cast<double>((images ? in.raw.pixels : in.x).shape().elements());
    return elements * ((images ? 1 : 0) +
                       activations * static_cast<double>(SizeOf(executor.types().activations)) +
                       parameters * static_cast<double>(SizeOf(executor.types().parameters)));
  }
};

std::vector<Tensor> Updated(Executor& executor, Inputs& in, UpdateSpec spec,
                            std::vector<Tensor> slots) {
  spec.parts = {{.elements = in.parameters.shape().elements(), .weight_decay = 5e-4}};
  executor.Update(spec, {.learning_rate = 1e-3, .gradients = in.gradients, .verdict = in.verdict},
                  in.parameters, slots, in.updates);
  slots.push_back(in.parameters);
  return slots;
}

std::vector<Kernel> Kernels() {
  const auto statistics = [](Executor& executor, const Inputs& in) {
    return executor.New({1, in.layout.channels}, DType::kFloat64);
  };
  const auto sums = [statistics](Executor& executor, Inputs& in, const Tensor& y) {
    Tensor dy = statistics(executor, in), dy_xhat = statistics(executor, in);
    executor.NormalizeBackwardSums(in.norm, in.x, y, in.dy, dy, dy_xhat);
    return std::vector<Tensor>{dy, dy_xhat};
  };
  return {
      {"moments", 1, 0,
       [](Executor& executor, Inputs& in) {
         Tensor moments = executor.New({1, 1 + 2 * in.layout.channels}, DType::kFloat64);
         executor.Moments(in.layout, in.x, moments);
         return std::vector<Tensor>{moments};
       }},
      {"normalize + ReLU", 2, 0,
       [](Executor& executor, Inputs& in) {
         return std::vector<Tensor>{executor.NormalizeForward(in.norm, in.x, Tensor())};
       }},
      {"normalize + add + ReLU", 3, 0,
       [](Executor& executor, Inputs& in) {
         return std::vector<Tensor>{executor.NormalizeForward(in.norm, in.x, in.residual)};
       }},
      {"sums of the backward", 2, 0,
       [sums](Executor& executor, Inputs& in) { return sums(executor, in, Tensor()); }},
      {"sums of the backward, add", 3, 0,
       [sums](Executor& executor, Inputs& in) { return sums(executor, in, in.y); }},
      {"dx", 3, 0,
       [](Executor& executor, Inputs& in) {
         return std::vector<Tensor>{
             executor.NormalizeBackwardInput(in.norm, in.x, Tensor(), in.dy, in.terms, nullptr)};
       }},
      {"dx and that of the residual", 5, 0,
       [](Executor& executor, Inputs& in) {
         Tensor dresidual;
         Tensor dx =
             executor.NormalizeBackwardInput(in.norm, in.x, in.y, in.dy, in.terms, &dresidual);
         return std::vector<Tensor>{dx, dresidual};
       }},
      {"ReLU", 2, 0,
       [](Executor& executor, Inputs& in) {
         return std::vector<Tensor>{executor.ActivationForward(ActivationKind::kRelu, in.x)};
       }},
      {"ReLU, backward", 3, 0,
       [](Executor& executor, Inputs& in) {
         return std::vector<Tensor>{
             executor.ActivationBackward(ActivationKind::kRelu, in.y, in.dy)};
       }},
      {"add", 3, 0,
       [](Executor& executor, Inputs& in) {
         return std::vector<Tensor>{executor.Add(in.x, in.residual)};
       }},
      {"sums of squares", 0, 1,
       [](Executor& executor, Inputs& in) {
         Tensor squares = executor.New({1}, DType::kFloat64);
         executor.SumsOfSquares(std::span(&in.gradients, 1), squares);
         return std::vector<Tensor>{squares};
       }},
      {"update, SGD with momentum", 0, 5,
       [](Executor& executor, Inputs& in) {
         return Updated(executor, in, {.momentum = 0.9, .nesterov = true}, {in.mean});
       }},
      {"update, AdamW", 0, 7,
       [](Executor& executor, Inputs& in) {
         return Updated(executor, in, {.rule = UpdateSpec::Rule::kAdamW}, {in.mean, in.square});
       }},
      {"images", 1, 0,
       [](Executor& executor, Inputs& in) {
         return std::vector<Tensor>{executor.MakeImages(in.raw)};
       },
       true},
  };
}

// Throws INTERNAL where a kernel does not give what the reference gives.
void Verify(const Kernel& kernel, Executor& executor) {
  const auto reference = MakeReferenceBackend()->MakeExecutor();
  for (const int64_t channels : {64, 65}) {
    Inputs mine(executor, 1000, channels), theirs(*reference, 1000, channels);
    const std::vector<Tensor> got = kernel.run(executor, mine);
    const std::vector<Tensor> wanted = kernel.run(*reference, theirs);
    for (size_t i = 0; i < got.size(); ++i) {
      const auto near = Near(got[i], wanted[i], 1e-5);
      if (near) continue;
      throw Error(ErrorCode::kInternal, kernel.name + " with " + std::to_string(channels) +
                                            " channels, result " + std::to_string(i) +
                                            ", is wrong: " + near.message());
    }
  }
}

double SecondsOf(Executor& executor, int repeats, const std::function<void(int)>& once) {
  executor.Synchronize();
  const auto start = Clock::now();
  for (int i = 0; i < repeats; ++i) once(i);
  executor.Synchronize();
  return std::chrono::duration<double>(Clock::now() - start).count() / repeats;
}

class Bench {
 public:
  Bench(const Options& options, const Backend& backend, std::string precision)
      : options_(options), precision_(std::move(precision)), executor_(backend.MakeExecutor()) {
    FitInputs(executor_->types().activations);
  }

  void Run(nlohmann::json& rows) {
    const std::vector<Kernel> kernels = Kernels();
    for (const Kernel& kernel : kernels) Verify(kernel, *executor_);
    for (const int64_t kib : options_.kib) {
      for (const int64_t channels : options_.channels) Run(kernels, kib, channels, rows);
    }
  }

 private:
  void Run(const std::vector<Kernel>& kernels, int64_t kib, int64_t channels,
           nlohmann::json& rows) {
    const auto size = static_cast<int64_t>(SizeOf(executor_->types().activations));
    const int64_t count = std::max<int64_t>(1, kib * 1024 / size / channels);
    std::vector<Inputs> sets;
    std::vector<Tensor> copies;
    for (int i = 0; i < options_.sets; ++i) {
      sets.emplace_back(*executor_, count, channels);
      copies.push_back(executor_->Clone(sets.back().x));
    }
    const auto copy = [&](int i) {
      const auto at = static_cast<size_t>(i) % sets.size();
      executor_->Copy(sets[at].x, copies[at]);
    };
    const double copied = 2.0 * static_cast<double>(sets[0].x.bytes());
    for (const Kernel& kernel : kernels) {
      if (kernel.parameters > 0 && precision_ != "float32") continue;  // they are float32 always
      // They have channels of their own.
      if (kernel.images && channels != options_.channels.front()) continue;
      std::vector<std::vector<Tensor>> results(sets.size());
      const auto once = [&](int i) {
        const auto at = static_cast<size_t>(i) % sets.size();
        results[at] = kernel.run(*executor_, sets[at]);
      };
      const double bytes = kernel.Bytes(*executor_, sets[0]);
      const int64_t named = kernel.images ? sets[0].raw.pixels.shape()[3] : channels;
      // The first of each makes what is made once.
      SecondsOf(*executor_, 2 * options_.sets, once);
      const int repeats = Repeats(SecondsOf(*executor_, options_.sets, once));
      const int copy_repeats = Repeats(SecondsOf(*executor_, options_.sets, copy));
      std::vector<double> ratios, rates, copy_rates;
      for (int round = 0; round < options_.rounds; ++round) {
        copy_rates.push_back(copied / SecondsOf(*executor_, copy_repeats, copy));
        rates.push_back(bytes / SecondsOf(*executor_, repeats, once));
        ratios.push_back(rates.back() / copy_rates.back());
      }
      for (auto* values : {&ratios, &rates, &copy_rates}) std::ranges::sort(*values);
      const size_t middle = ratios.size() / 2;
      rows.push_back({{"kernel", kernel.name},
                      {"precision", precision_},
                      {"kib", kib},
                      {"channels", named},
                      {"gigabytes_per_second", rates[middle] / 1e9},
                      {"copy_gigabytes_per_second", copy_rates[middle] / 1e9},
                      {"of_copy", ratios[middle]},
                      {"low", ratios.front()},
                      {"high", ratios.back()}});
      std::printf("%-28s %-8s %8lld KiB %5lld channels %8.1f GB/s, of a copy %.3f (%.3f to %.3f)\n",
                  kernel.name.c_str(), precision_.c_str(), static_cast<long long>(kib),
                  static_cast<long long>(named), rates[middle] / 1e9, ratios[middle],
                  ratios.front(), ratios.back());
      std::fflush(stdout);
    }
  }

  // Whole turns of the sets, that take long enough for the clock.
  int Repeats(double seconds) const {
    const double wanted = options_.milliseconds / 1000 / std::max(seconds, 1e-7);
    const int turns = std::max(1, static_cast<int>(wanted) / options_.sets);
    return turns * options_.sets;
  }

  const Options& options_;
  const std::string precision_;
  const std::unique_ptr<Executor> executor_;
};

int Main(int argc, char** argv) {
  Options options;
  CLI::App parser("Kernels of the CUDA back end against a copy on the same device");
  parser.add_option("--kib", options.kib, "sizes of x")->delimiter(',');
  parser.add_option("--channels", options.channels)->delimiter(',');
  parser.add_option("--precision", options.precisions)
      ->delimiter(',')
      ->check(CLI::IsMember({"float32", "bf16"}));
  parser.add_option("--sets", options.sets)->check(CLI::Range(1, 64));
  parser.add_option("--rounds", options.rounds)->check(CLI::Range(1, 1000));
  parser.add_option("--milliseconds", options.milliseconds, "of a round, at least");
  parser.add_option("--json", options.json, "where the figures go");
  CLI11_PARSE(parser, argc, argv);
  try {
    const auto backend = MakeCudaBackend(0);
    std::printf("%s\n", backend->Description().c_str());
    nlohmann::json rows = nlohmann::json::array();
    for (const std::string& precision : options.precisions) {
      const auto narrow =
          precision == "bf16" ? backend->WithPrecision(Precision::kBFloat16) : nullptr;
      Bench(options, narrow ? *narrow : *backend, precision).Run(rows);
    }
    if (!options.json.empty()) {
      std::ofstream(options.json) << nlohmann::json{
          {"back_end", backend->Description()},
          {"kernels", rows}}.dump(1);
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace syncbn::backend

int main(int argc, char** argv) {
  return syncbn::backend::Main(argc, argv);
}
