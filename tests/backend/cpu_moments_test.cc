// Accuracy of the CPU back end's moments against long double, for every instruction set it has.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "base/rng.h"
#include "tests/backend/moments.h"

namespace syncbn::backend::cpu {
namespace {

struct Exact {
  long double mean = 0, m2 = 0;
};

// Of channel c, in two passes.
Exact ExactMoments(const Tensor& x, int64_t rows, int64_t channels, int64_t c) {
  const float* in = x.Data<float>();
  Exact exact;
  for (int64_t r = 0; r < rows; ++r) exact.mean += in[r * channels + c];
  exact.mean /= rows;
  for (int64_t r = 0; r < rows; ++r) {
    const long double d = in[r * channels + c] - exact.mean;
    exact.m2 += d * d;
  }
  return exact;
}

Tensor Fill(int64_t rows, int64_t channels, const std::function<double(int64_t, int64_t)>& value) {
  Tensor x({rows, channels}, DType::kFloat32);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < channels; ++c) {
      x.Data<float>()[r * channels + c] = static_cast<float>(value(r, c));
    }
  }
  return x;
}

Tensor Normal(int64_t rows, int64_t channels, double mean, double std) {
  RandomStream random(RandomKey(7).Fold(static_cast<uint64_t>(rows)));
  return Fill(rows, channels, [&](int64_t, int64_t) { return mean + std * random.Normal(); });
}

class CpuMoments : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!IsaAvailable(GetParam())) GTEST_SKIP() << "this machine has no " << IsaName(GetParam());
    executor_ = CpuBackend(GetParam()).MakeExecutor();
  }

  // The largest relative error of M2 (= of the variance) over the channels; the mean must be right
  // to 1e-6 standard deviations.
  double Error(const Tensor& x, int64_t rows, int64_t channels) {
    const auto [mean, m2] = MomentsOf(*executor_, {.samples = rows, .channels = channels}, x);
    double worst = 0;
    for (int64_t c = 0; c < channels; ++c) {
      const Exact exact = ExactMoments(x, rows, channels, c);
      const long double deviation = std::sqrt(exact.m2 / rows);
      EXPECT_LE(std::abs(mean.Data<double>()[c] - exact.mean), 1e-6L * deviation)
          << "mean of channel " << c << " of " << rows << " rows";
      if (exact.m2 == 0) {
        EXPECT_EQ(m2.Data<double>()[c], 0) << "channel " << c << " of " << rows << " rows";
        continue;
      }
      const long double error = std::abs(m2.Data<double>()[c] - exact.m2) / exact.m2;
      worst = std::max(worst, static_cast<double>(error));
    }
    return worst;
  }

  std::unique_ptr<Executor> executor_;
};
INSTANTIATE_TEST_SUITE_P(Isa, CpuMoments, ::testing::Values(Isa::kAvx2, Isa::kAvx512),
                         [](const auto& info) { return std::string(IsaName(info.param)); });

constexpr double kAllowed = 1e-6;

TEST_P(CpuMoments, VarianceIsRightToOneMillionthAtEveryMeanAndCount) {
  for (const double ratio : {0.0, 1.0, 1e2, 1e3, 1e4, 1e5}) {
    for (const int64_t rows :
         {2, 3, 5, 8, 16, 17, 32, 33, 64, 100, 127, 128, 129, 1000, 4096, 20001}) {
      for (const int64_t channels : {1, 3, 16, 24}) {
        const double error = Error(Normal(rows, channels, ratio * 0.5, 0.5), rows, channels);
        EXPECT_LE(error, kAllowed)
            << "mean/std " << ratio << ", " << rows << " rows of " << channels;
      }
    }
  }
}

TEST_P(CpuMoments, VarianceIsRightForEveryNumberOfChannels) {
  for (const int64_t channels : {1,  2,  3,  5,  7,   8,   10,  12,  15,  16,   17,   31,   33,
                                 48, 63, 65, 96, 100, 128, 200, 511, 512, 1000, 1023, 1025, 2048}) {
    for (const int64_t rows : {40, 333}) {
      EXPECT_LE(Error(Normal(rows, channels, 300, 2), rows, channels), kAllowed)
          << rows << " rows of " << channels;
    }
  }
}

// What the values first looked at say nothing about.
TEST_P(CpuMoments, VarianceIsRightWhereRowsDoNotResembleTheirSegment) {
  RandomStream random(RandomKey(3));
  const auto spike = [](int64_t r, int64_t c) { return r == 17 * c ? 1e4 : 1.0 + r % 3; };
  const auto step = [&](int64_t r, int64_t) { return (r < 3000 ? 1e4 : -1e4) + random.Normal(); };
  const auto ramp = [](int64_t r, int64_t) { return 1e3 + 0.37 * static_cast<double>(r); };
  const auto alternating = [](int64_t r, int64_t) { return 5 + (r % 2 == 0 ? 0.1 : -0.1); };
  const auto rare = [](int64_t r, int64_t c) { return (r + c) % 997 == 0 ? 3.3 : 0.0; };
  const auto tails = [&](int64_t, int64_t) { return 100 + std::exp(4 * random.Normal()); };
  const std::vector<std::function<double(int64_t, int64_t)>> kinds = {spike,       step, ramp,
                                                                      alternating, rare, tails};
  for (size_t kind = 0; kind < kinds.size(); ++kind) {
    for (const int64_t channels : {3, 16, 64}) {
      EXPECT_LE(Error(Fill(5000, channels, kinds[kind]), 5000, channels), kAllowed)
          << "kind " << kind << ", " << channels << " channels";
    }
  }
}

// All values the first guess sees are the same, and far from the rest.
TEST_P(CpuMoments, VarianceIsRightWhenTheFirstGuessIsFarOff) {
  constexpr int64_t kRows = 4096;
  RandomStream random(RandomKey(5));
  for (const double far : {10.0, 1e3, 1e5}) {
    // The rows that the kernel takes its guess from (moments.cc): fractions of the golden ratio.
    std::vector<bool> looked_at(kRows);
    for (uint32_t i = 0; i < 32; ++i) {
      looked_at[static_cast<size_t>((uint64_t{i * 2654435769u} * kRows) >> 32)] = true;
    }
    const Tensor x = Fill(kRows, 16, [&](int64_t r, int64_t c) {
      return looked_at[static_cast<size_t>(r)] && c % 2 == 0 ? far : random.Normal();
    });
    EXPECT_LE(Error(x, kRows, 16), kAllowed) << far;
  }
}

TEST_P(CpuMoments, AChannelThatDoesNotVaryHasVarianceZero) {
  for (const int64_t rows : {2, 31, 100, 10000}) {
    const Tensor x = Fill(rows, 10, [](int64_t, int64_t c) { return 0.1 + 123.7 * c; });
    EXPECT_EQ(Error(x, rows, 10), 0);
  }
}

// As replicas do: each its part, merged in double by Chan's formula.
TEST_P(CpuMoments, PartsMergedOverEightReplicasAreAsAccurate) {
  constexpr int64_t kChannels = 16;
  for (const double ratio : {0.0, 1e2, 1e5}) {
    for (const int64_t rows : {9, 64, 1003, 16384}) {
      const Tensor x = Normal(rows, kChannels, ratio, 1);
      double count = 0, mean[kChannels] = {}, m2[kChannels] = {};
      for (int64_t part = 0; part < 8; ++part) {
        const int64_t begin = rows * part / 8, end = rows * (part + 1) / 8;
        const double n = static_cast<double>(end - begin);
        const auto [part_mean, part_m2] = MomentsOf(
            *executor_, {.samples = end - begin, .channels = kChannels}, x.Rows(begin, end));
        for (int64_t c = 0; c < kChannels && n > 0; ++c) {
          const double delta = part_mean.Data<double>()[c] - mean[c];
          mean[c] += delta * n / (count + n);
          m2[c] += part_m2.Data<double>()[c] + delta * delta * count * n / (count + n);
        }
        count += n;
      }
      for (int64_t c = 0; c < kChannels; ++c) {
        const Exact exact = ExactMoments(x, rows, kChannels, c);
        EXPECT_LE(std::abs(m2[c] - exact.m2), kAllowed * exact.m2) << ratio << ", " << rows;
      }
    }
  }
}

TEST_P(CpuMoments, SegmentsAreIndependent) {
  constexpr int64_t kSegments = 5, kChannels = 24;
  for (const int64_t rows : {1, 2, 20, 49, 200}) {
    const Tensor x = Normal(kSegments * rows, kChannels, 40, 3);
    const auto [mean, m2] =
        MomentsOf(*executor_, {.segments = kSegments, .samples = rows, .channels = kChannels}, x);
    for (int64_t s = 0; s < kSegments; ++s) {
      const auto [one_mean, one_m2] = MomentsOf(
          *executor_, {.samples = rows, .channels = kChannels}, x.Rows(s * rows, (s + 1) * rows));
      for (int64_t c = 0; c < kChannels; ++c) {
        EXPECT_EQ(mean.Data<double>()[s * kChannels + c], one_mean.Data<double>()[c]);
        EXPECT_EQ(m2.Data<double>()[s * kChannels + c], one_m2.Data<double>()[c]);
      }
    }
  }
}

TEST_P(CpuMoments, OneNanOrInfinityShowsInItsChannelOnly) {
  for (const int64_t rows : {20, 2000}) {
    for (const double bad : {std::nan(""), HUGE_VAL}) {
      Tensor x = Normal(rows, 10, 0, 1);
      x.Data<float>()[(rows / 2) * 10 + 3] = static_cast<float>(bad);
      const auto [mean, m2] = MomentsOf(*executor_, {.samples = rows, .channels = 10}, x);
      for (int64_t c = 0; c < 10; ++c) {
        EXPECT_EQ(std::isfinite(mean.Data<double>()[c]), c != 3) << rows << " rows, " << bad;
        EXPECT_EQ(std::isfinite(m2.Data<double>()[c]), c != 3) << rows << " rows, " << bad;
      }
    }
  }
}

}  // namespace
}  // namespace syncbn::backend::cpu
