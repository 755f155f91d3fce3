// What is particular to the CPU executor: bits that depend on nothing but the arguments, packed
// weights that are shared and never stale, and kernels that agree with themselves.
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/rng.h"
#include "tests/backend/activations.h"
#include "tests/backend/moments.h"

namespace syncbn::backend::cpu {
namespace {

Tensor Random(Shape shape, uint64_t seed, double mean = 0, double std = 1) {
  Tensor x(shape, DType::kFloat32);
  RandomStream random{RandomKey(seed)};
  for (float& value : x.Span<float>()) value = static_cast<float>(mean + std * random.Normal());
  return x;
}

std::vector<Digest> Digests(const std::vector<Tensor>& tensors) {
  std::vector<Digest> digests;
  for (const Tensor& tensor : tensors) digests.push_back(DigestOf(tensor.Bytes()));
  return digests;
}

constexpr Conv2dSpec kConv{
    .in_channels = 16, .out_channels = 32, .kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1};

struct Inputs {
  Tensor x = Random({16, 12, 12, 16}, 1), dy = Random({16, 12, 12, 32}, 2);
  Tensor weight = Random(kConv.WeightShape(), 3);
  Tensor features = Random({64, 300}, 4), matrix = Random({100, 300}, 5);
  Tensor dfeatures = Random({64, 100}, 6);
};

// Sizes at which oneDNN divides the work when it is given several threads.
std::vector<Tensor> Step(Executor& e, const Inputs& in) {
  std::vector<Tensor> results;
  results.push_back(e.Conv2dForward(kConv, in.x, in.weight, {}));
  results.push_back(e.Conv2dBackwardInput(kConv, in.x.shape(), in.dy, in.weight));
  Tensor dweight = e.New(kConv.WeightShape()), dmatrix = e.New(in.matrix.shape());
  Tensor dbias = e.New({32});
  e.Conv2dBackwardWeights(kConv, in.x, in.dy, {dweight}, {dbias});
  results.insert(results.end(), {dweight, dbias});
  results.push_back(e.LinearForward(in.features, in.matrix, {}));
  results.push_back(e.LinearBackwardInput(in.dfeatures, in.matrix));
  e.LinearBackwardWeights(in.features, in.dfeatures, {dmatrix}, {});
  results.push_back(dmatrix);
  Tensor moments = e.New({1, 33}, DType::kFloat64);
  e.Moments({.samples = 16, .rows_per_sample = 144, .channels = 16}, in.x, moments);
  results.push_back(moments);
  results.push_back(e.Pool2dForward({.kind = PoolKind::kAverage}, in.x).y);
  return results;
}

// -- Bits
// --------------------------------------------------------------------------------------------

TEST(CpuExecutor, BitsDoNotDependOnTheThreadsAskedOfOpenMp) {
  const Inputs inputs;
  const std::unique_ptr<Backend> backend = MakeCpuBackend();
  const std::vector<Digest> expected = Digests(Step(*backend->MakeExecutor(), inputs));
  for (const int threads : {1, 2, 4}) {
    std::vector<Digest> actual;
    std::thread([&] {
      omp_set_num_threads(threads);
      actual = Digests(Step(*backend->MakeExecutor(), inputs));
    }).join();
    EXPECT_EQ(actual, expected) << threads << " threads";
  }
}

TEST(CpuExecutor, BitsDoNotDependOnExecutorsAtWorkBesideIt) {
  const Inputs inputs;
  const std::unique_ptr<Backend> backend = MakeCpuBackend();
  const std::vector<Digest> expected = Digests(Step(*backend->MakeExecutor(), inputs));
  for (const int count : {1, 2, 4}) {
    std::vector<int> different(static_cast<size_t>(count), 0);
    std::vector<std::thread> threads;
    for (int& mine : different) {
      threads.emplace_back([&] {
        const auto executor = backend->MakeExecutor();
        for (int pass = 0; pass < 10; ++pass) {
          executor->SetWeightsVersion(WeightsVersion::New());
          if (Digests(Step(*executor, inputs)) != expected) ++mine;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const int mine : different) EXPECT_EQ(mine, 0) << "beside " << count - 1 << " others";
  }
}

// Memory of the pool holds what was there before; no operation may let that through.
TEST(CpuExecutor, ResultsDoNotDependOnWhatMemoryHeldBefore) {
  const Inputs inputs;
  const std::unique_ptr<Backend> backend = MakeCpuBackend();
  const auto executor = backend->MakeExecutor();
  executor->SetWeightsVersion(WeightsVersion::New());
  const std::vector<Digest> expected = Digests(Step(*executor, inputs));
  for (int round = 0; round < 2; ++round) {
    std::vector<Tensor> blocks;
    for (const Tensor& result : Step(*executor, inputs)) {
      blocks.push_back(executor->New(result.shape(), result.dtype()));
      std::ranges::fill(blocks.back().Bytes(), std::byte{0xff});
    }
    blocks.clear();
    EXPECT_EQ(Digests(Step(*executor, inputs)), expected);
  }
}

// -- Packed weights
// ----------------------------------------------------------------------------------

TEST(WeightsVersion, IsNeverMadeTwice) {
  const WeightsVersion first = WeightsVersion::New();
  EXPECT_NE(first, WeightsVersion::New());
  EXPECT_TRUE(first);
  EXPECT_FALSE(WeightsVersion());
}

TEST(CpuPackedWeights, ArePackedOnceForAllExecutors) {
  const Inputs inputs;
  const CpuBackend backend(BestIsa());
  const WeightsVersion version = WeightsVersion::New();
  std::vector<std::unique_ptr<Executor>> executors;
  size_t bytes = 0;
  for (int i = 0; i < 3; ++i) {
    executors.push_back(backend.MakeExecutor());
    executors.back()->SetWeightsVersion(version);
    executors.back()->Conv2dForward(kConv, inputs.x, inputs.weight, {});
    if (i == 0) bytes = backend.packed_weights().bytes();
    EXPECT_EQ(backend.packed_weights().bytes(), bytes);
  }
}

TEST(CpuPackedWeights, TakeTheMemoryOfTheVersionBefore) {
  Inputs inputs;
  const CpuBackend backend(BestIsa());
  const auto first = backend.MakeExecutor(), second = backend.MakeExecutor();
  size_t bytes = 0;
  for (int value = 1; value <= 6; ++value) {
    std::ranges::fill(inputs.weight.Span<float>(), static_cast<float>(value));
    const WeightsVersion version = WeightsVersion::New();
    first->SetWeightsVersion(version);
    second->SetWeightsVersion(version);
    for (Executor* executor : {first.get(), second.get()}) {
      const Tensor y = executor->Conv2dForward(kConv, inputs.x, inputs.weight, {});
      const Tensor fresh =
          backend.MakeExecutor()->Conv2dForward(kConv, inputs.x, inputs.weight, {});
      EXPECT_EQ(DigestOf(y.Bytes()), DigestOf(fresh.Bytes())) << "value " << value;
    }
    if (value == 1) bytes = backend.packed_weights().bytes();
    EXPECT_EQ(backend.packed_weights().bytes(), bytes);
  }
}

TEST(CpuPackedWeights, AreNotOverwrittenWhileSomebodyReadsThem) {
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const dnnl::memory::desc layout({16}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::a);
  const Tensor weight = Tensor::Zeros({16}, DType::kFloat32);
  PackedWeights packed;
  const auto get = [&](float content) {
    return packed.Get(weight, WeightsVersion::New(), layout, engine, [&](dnnl::memory& memory) {
      std::fill_n(static_cast<float*>(memory.get_data_handle()), 16, content);
    });
  };
  const auto value = [](const PackedWeights::Handle& handle) {
    return static_cast<const float*>(handle->memory.get_data_handle())[7];
  };
  const PackedWeights::Handle first = get(1);
  for (float content = 2; content < 6; ++content) {
    EXPECT_EQ(value(get(content)), content);
    EXPECT_EQ(value(first), 1);
  }
  // The one that is read and the one that was free for the others.
  EXPECT_EQ(packed.bytes(), 2 * layout.get_size());
}

TEST(CpuPackedWeights, AreNotMistakenForOtherWeightsAtTheSameAddress) {
  const Inputs inputs;
  const CpuBackend backend(BestIsa());
  const auto executor = backend.MakeExecutor();
  executor->SetWeightsVersion(WeightsVersion::New());
  const void* address = nullptr;
  for (int i = 0; i < 4; ++i) {
    // From the executor's pool, so that each lies where the one before did.
    Tensor weight = executor->New(kConv.WeightShape());
    if (i > 0) {
      ASSERT_EQ(weight.Bytes().data(), address);
    }
    address = weight.Bytes().data();
    std::ranges::fill(weight.Span<float>(), static_cast<float>(i));
    Tensor y = executor->Conv2dForward(kConv, inputs.x, weight, {});
    const Tensor fresh = backend.MakeExecutor()->Conv2dForward(kConv, inputs.x, weight, {});
    EXPECT_EQ(DigestOf(y.Bytes()), DigestOf(fresh.Bytes())) << i;
  }
}

TEST(CpuPackedWeights, OfOneVersionThatWereWrittenToAreAnError) {
  Inputs inputs;
  const CpuBackend backend(BestIsa());
  const auto first = backend.MakeExecutor(), second = backend.MakeExecutor();
  const WeightsVersion version = WeightsVersion::New();
  first->SetWeightsVersion(version);
  first->Conv2dForward(kConv, inputs.x, inputs.weight, {});
  for (float& value : inputs.weight.Span<float>()) value += 1;
  for (Executor* executor : {first.get(), second.get()}) {
    executor->SetWeightsVersion(version);
    try {
      executor->Conv2dForward(kConv, inputs.x, inputs.weight, {});
      ADD_FAILURE() << "stale weights were used";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInternal);
      EXPECT_NE(error.message().find("written to without a new version"), std::string::npos)
          << error.message();
    }
  }
  for (Executor* executor : {first.get(), second.get()}) {
    executor->SetWeightsVersion(WeightsVersion::New());
    EXPECT_NO_THROW(executor->Conv2dForward(kConv, inputs.x, inputs.weight, {}));
  }
}

TEST(CpuPackedWeights, AreNotKeptBeforeAVersionIsSet) {
  Inputs inputs;
  const CpuBackend backend(BestIsa());
  const auto executor = backend.MakeExecutor();
  executor->Conv2dForward(kConv, inputs.x, inputs.weight, {});
  EXPECT_EQ(backend.packed_weights().bytes(), 0u);
  std::ranges::fill(inputs.weight.Span<float>(), 0.0f);
  const Tensor y = executor->Conv2dForward(kConv, inputs.x, inputs.weight, {});
  EXPECT_TRUE(std::ranges::all_of(y.Span<float>(), [](float value) { return value == 0; }));
}

TEST(CpuPackedWeights, AreDroppedWhenTheirWeightsAreGone) {
  const Inputs inputs;
  const CpuBackend backend(BestIsa());
  const auto executor = backend.MakeExecutor();
  size_t bytes = 0;
  for (int version = 1; version <= 20; ++version) {
    executor->SetWeightsVersion(WeightsVersion::New());
    std::vector<Tensor> elsewhere;  // so that every version has weights at new addresses
    for (int i = 0; i < version; ++i)
      elsewhere.push_back(Tensor(kConv.WeightShape(), DType::kFloat32));
    Tensor weight = inputs.weight.Clone();
    executor->Conv2dForward(kConv, inputs.x, weight, {});
    if (version == 1) bytes = backend.packed_weights().bytes();
  }
  EXPECT_LE(backend.packed_weights().bytes(), 2 * bytes);
}

// -- Kernels
// -----------------------------------------------------------------------------------------

class CpuKernels : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!IsaAvailable(GetParam())) GTEST_SKIP() << "this machine has no " << IsaName(GetParam());
    executor_ = CpuBackend(GetParam()).MakeExecutor();
  }
  std::unique_ptr<Executor> executor_;
};
INSTANTIATE_TEST_SUITE_P(Isa, CpuKernels, ::testing::Values(Isa::kAvx2, Isa::kAvx512),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

TEST_P(CpuKernels, TheMaskOfTheBackwardPassIsTheForwardsToTheLastBit) {
  for (const int64_t channels : {1, 3, 10, 16, 24, 64}) {
    for (const double mean : {0.0, 1e3, 1e5}) {
      constexpr int64_t kRows = 3000;
      // beta = 0: half of all values lie at the kink, many of them within rounding of it.
      const Tensor x = Random({kRows, channels}, 9, mean, 1e-2 * std::max(1.0, mean * 1e-3));
      Normalization norm{.layout = {.samples = kRows, .channels = channels},
                         .mean = Tensor::Zeros({1, channels}, DType::kFloat64),
                         .inv_std = Tensor::Zeros({1, channels}, DType::kFloat64),
                         .gamma = Random({channels}, 10),
                         .relu = true};
      for (int64_t c = 0; c < channels; ++c) {
        norm.mean.Data<double>()[c] = mean + 1e-9 * static_cast<double>(c);
        norm.inv_std.Data<double>()[c] = 17.3;
      }
      Tensor dy(x.shape(), DType::kFloat32);
      std::ranges::fill(dy.Span<float>(), 1.0f);
      const Tensor y = executor_->NormalizeForward(norm, x, {});
      const Tensor again = executor_->NormalizeBackwardInput(norm, x, {}, dy, {}, nullptr);
      const Tensor known = executor_->NormalizeBackwardInput(norm, x, y, dy, {}, nullptr);
      EXPECT_EQ(DigestOf(again.Bytes()), DigestOf(known.Bytes())) << channels << ", " << mean;
      for (int64_t i = 0; i < x.elements(); ++i) {
        ASSERT_EQ(again.Data<float>()[i] != 0, y.Data<float>()[i] > 0) << i;
      }
    }
  }
}

TEST_P(CpuKernels, NormalizingLosesNothingAtALargeMean) {
  constexpr int64_t kRows = 1000, kChannels = 10;
  for (const double ratio : {0.0, 1e3, 1e5}) {
    const Tensor x = Random({kRows, kChannels}, 11, ratio, 1);
    const auto [mean, m2] = MomentsOf(*executor_, {.samples = kRows, .channels = kChannels}, x);
    Tensor inv_std({1, kChannels}, DType::kFloat64);
    for (int64_t c = 0; c < kChannels; ++c) {
      inv_std.Data<double>()[c] = 1 / std::sqrt(m2.Data<double>()[c] / kRows + 1e-5);
    }
    const Tensor y = executor_->NormalizeForward(
        {.layout = {.samples = kRows, .channels = kChannels}, .mean = mean, .inv_std = inv_std}, x,
        {});
    for (int64_t i = 0; i < x.elements(); ++i) {
      const int64_t c = i % kChannels;
      const double want = (x.Data<float>()[i] - mean.Data<double>()[c]) * inv_std.Data<double>()[c];
      ASSERT_NEAR(y.Data<float>()[i], want, 8e-7 * std::max(1.0, std::abs(want))) << ratio;
    }
  }
}

TEST_P(CpuKernels, ALargeTensorHasTheBitsOfItsParts) {
  // Large results are written past the cache where the vectors lie at aligned places.
  constexpr int64_t kParts = 3;
  for (const int64_t channels : {1, 16, 24, 100}) {
    const int64_t rows = (int64_t{5} << 20) / channels / kParts * kParts;
    Tensor x({rows, channels}, DType::kFloat32), dy(x.shape(), DType::kFloat32);
    RandomStream random{RandomKey(12)};
    for (Tensor* tensor : {&x, &dy}) {
      for (float& value : tensor->Span<float>()) value = random.Uniform() - 0.5f;
    }
    Normalization norm{.layout = {.samples = rows, .channels = channels},
                       .mean = Tensor::Zeros({1, channels}, DType::kFloat64),
                       .inv_std = Tensor::Zeros({1, channels}, DType::kFloat64),
                       .gamma = Random({channels}, 13),
                       .beta = Random({channels}, 14, 0, 0.1),
                       .relu = true};
    std::ranges::fill(norm.inv_std.Span<double>(), 3.3);
    Tensor a({1, channels}, DType::kFloat64), b({1, channels}, DType::kFloat64);
    std::ranges::fill(a.Span<double>(), 1e-3);
    std::ranges::fill(b.Span<double>(), 2e-3);
    Normalization of_part = norm;
    of_part.layout.samples = rows / kParts;
    const Tensor y = executor_->NormalizeForward(norm, x, {});
    const Tensor added = executor_->NormalizeForward(norm, x, dy);
    Tensor masked;
    const Tensor dx = executor_->NormalizeBackwardInput(norm, x, added, dy, {a, b}, &masked);
    for (int64_t part = 0; part < kParts; ++part) {
      const int64_t begin = part * rows / kParts, end = begin + rows / kParts;
      const auto same = [&](const Tensor& whole, const Tensor& one) {
        return DigestOf(whole.Rows(begin, end).Bytes()) == DigestOf(one.Bytes());
      };
      const Tensor x1 = x.Rows(begin, end), dy1 = dy.Rows(begin, end);
      EXPECT_TRUE(same(y, executor_->NormalizeForward(of_part, x1, {}))) << channels;
      EXPECT_TRUE(same(added, executor_->NormalizeForward(of_part, x1, dy1))) << channels;
      Tensor masked1;
      EXPECT_TRUE(same(dx, executor_->NormalizeBackwardInput(of_part, x1, added.Rows(begin, end),
                                                             dy1, {a, b}, &masked1)))
          << channels;
      EXPECT_TRUE(same(masked, masked1)) << channels;
    }
  }
}

TEST_P(CpuKernels, SigmoidAndTanhAreWithinAFewUnitsOfTheLastPlace) {
  std::vector<float> points;
  for (double x = -110; x <= 110; x += 0.00713) points.push_back(static_cast<float>(x));
  for (double x = 1e-38; x < 1; x *= 1.37) {
    points.push_back(static_cast<float>(x));
    points.push_back(static_cast<float>(-x));
  }
  Tensor x({static_cast<int64_t>(points.size())}, DType::kFloat32);
  std::ranges::copy(points, x.Data<float>());
  const Tensor sigmoid = executor_->ActivationForward(ActivationKind::kSigmoid, x);
  const Tensor tanh = executor_->ActivationForward(ActivationKind::kTanh, x);
  const Tensor gelu = executor_->ActivationForward(ActivationKind::kGelu, x);
  const double ulp = std::ldexp(1.0, -23), smallest = std::ldexp(1.0, -126);
  for (size_t i = 0; i < points.size(); ++i) {
    const double p = points[i];
    const double s = 1 / (1 + std::exp(-p)), t = std::tanh(p);
    const double g = p * std::erfc(-p / std::sqrt(2.0)) / 2;
    // Where an exponential of a subnormal result is a factor, digits are gone.
    ASSERT_NEAR(gelu.Data<float>()[i], g, 6 * ulp * std::max(std::abs(g), 1e3 * smallest)) << p;
    ASSERT_NEAR(sigmoid.Data<float>()[i], s, 2.5 * ulp * std::max(s, smallest)) << p;
    ASSERT_NEAR(tanh.Data<float>()[i], t, 2.5 * ulp * std::max(std::abs(t), smallest)) << p;
  }
}

TEST_P(CpuKernels, NanComesThroughActivationsAndPooling) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const ActivationKind kind : kActivations) {
    Tensor x = Random({37}, 12);
    for (const int64_t i : {0, 17, 36}) x.Data<float>()[i] = kNan;
    const Tensor y = executor_->ActivationForward(kind, x);
    for (int64_t i = 0; i < 37; ++i) {
      EXPECT_EQ(std::isnan(y.Data<float>()[i]), i == 0 || i == 17 || i == 36) << i;
    }
  }
  for (const PoolKind kind : {PoolKind::kMax, PoolKind::kAverage}) {
    for (const int64_t where : {0, 1, 2, 3}) {  // each tap of the 2 x 2 window
      Tensor x = Random({1, 2, 2, 19}, 13);
      x.Data<float>()[where * 19 + 18] = kNan;
      const Tensor y = executor_->Pool2dForward({.kind = kind}, x).y;
      for (int64_t c = 0; c < 19; ++c) EXPECT_EQ(std::isnan(y.Data<float>()[c]), c == 18) << c;
    }
  }
}

TEST_P(CpuKernels, TheGradientOfMaxPoolingGoesToTheFirstOfEquals) {
  Tensor x = Tensor::Zeros({1, 4, 4, 5}, DType::kFloat32);
  const Pool2dSpec spec{.kind = PoolKind::kMax, .kernel = 3, .stride = 1, .pad = 1};
  const PoolResult result = executor_->Pool2dForward(spec, x);
  Tensor dy(result.y.shape(), DType::kFloat32);
  std::ranges::fill(dy.Span<float>(), 1.0f);
  const Tensor dx = executor_->Pool2dBackward(spec, x.shape(), dy, result.positions);
  // Window (h, w) begins at (h - 1, w - 1), inside the image at its first row and column.
  const float expected[16] = {4, 2, 2, 0, 2, 1, 1, 0, 2, 1, 1, 0, 0, 0, 0, 0};
  for (int64_t i = 0; i < 80; ++i) EXPECT_EQ(dx.Data<float>()[i], expected[i / 5]) << i;
}

TEST_P(CpuKernels, SumOfSquaresIsInfiniteOrNanWhenAnElementIs) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    for (const int64_t where : {0, 100, 4999, 5000}) {
      Tensor x = Random({5001}, 14);
      EXPECT_TRUE(std::isfinite(SumOfSquares(*executor_, x)));
      x.Data<float>()[where] = bad;
      EXPECT_FALSE(std::isfinite(SumOfSquares(*executor_, x)));
    }
  }
}

TEST(CpuBackend, SaysWhatItsBitsDependOn) {
  const std::string description = MakeCpuBackend()->Description();
  EXPECT_NE(description.find("oneDNN 2."), std::string::npos) << description;
  EXPECT_NE(description.find("row kernels avx"), std::string::npos) << description;
}

TEST(CpuBackend, RefusesPoolingWindowsBeyondItsPositions) {
  const auto executor = MakeCpuBackend()->MakeExecutor();
  try {
    executor->Pool2dForward({.kind = PoolKind::kMax, .kernel = 16, .stride = 1},
                            Random({1, 16, 16, 1}, 1));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnimplemented);
  }
}

}  // namespace
}  // namespace syncbn::backend::cpu
