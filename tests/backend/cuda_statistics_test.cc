// Moments and statistics of the CUDA back end, beyond what every back end is tested for: the bits
// of the host where it has the same formula, the same bits from every address, segments of many
// blocks, and a host that is never stopped.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/cuda_backend.h"
#include "tests/backend/support.h"
#include "tests/emulation/runtime.h"

namespace syncbn::backend {
namespace {

class CudaStatisticsTest : public ::testing::Test {
 protected:
  CudaStatisticsTest()
      : backend_(cuda::MakeBackend()),
        device_(backend_->MakeExecutor()),
        host_(MakeReferenceBackend()->MakeExecutor()) {}

  void ExpectHostsBits(const std::function<std::vector<Tensor>(Executor&)>& operation) {
    const std::vector<Tensor> actual = operation(*device_), expected = operation(*host_);
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(SameBits(actual[i].OnHost(), expected[i])) << "result " << i;
    }
  }
  // A copy that begins `offset` floats into its memory.
  Tensor Shifted(const Tensor& x, int64_t offset) {
    Tensor part = device_->New({x.elements() + offset}).Slice(offset, x.shape());
    device_->Copy(As(x, DType::kFloat32), part);
    return part;
  }

  const std::unique_ptr<Backend> backend_;
  const std::unique_ptr<Executor> device_, host_;
};

// Blocks of moments, of which some have no elements.
Tensor Blocks(int64_t blocks, int64_t channels) {
  Tensor x = RandomNormal({blocks, 1 + 2 * channels}, "blocks", 1, 3);
  for (int64_t i = 0; i < blocks; ++i) {
    double* block = x.Data<double>() + i * (1 + 2 * channels);
    block[0] = i % 4 == 3 ? 0 : static_cast<double>(1 + i);
    for (int64_t c = 0; c < 2 * channels; ++c) block[1 + c] /= 3;
    for (int64_t c = 0; c < channels; ++c)
      block[1 + channels + c] = std::abs(block[1 + channels + c]);
  }
  return x;
}

Tensor Thirds(Shape shape, std::string_view name, double mean = 0) {
  Tensor x = RandomNormal(shape, name, mean);
  for (double& value : x.Span<double>()) value /= 3;
  return x;
}

TEST_F(CudaStatisticsTest, FinishedMomentsAreTheHosts) {
  for (const int64_t channels : {1, 3, 64, 257}) {
    for (const int64_t blocks : {0, 1, 5, 300}) {
      SCOPED_TRACE(::testing::Message() << blocks << " blocks of " << channels << " channels");
      const Tensor moments = Blocks(blocks, channels);
      std::vector<int64_t> repeats(static_cast<size_t>(blocks));
      for (size_t i = 0; i < repeats.size(); ++i) repeats[i] = static_cast<int64_t>(i * 3 % 4);
      for (const auto& times : {std::vector<int64_t>(), repeats}) {
        ExpectHostsBits([&](Executor& e) -> std::vector<Tensor> {
          const Statistics s = e.FinishMoments(OnDevice(e, moments), times, 1e-5);
          return {s.mean, s.inv_std, s.counts};
        });
      }
    }
  }
}

TEST_F(CudaStatisticsTest, MomentsOfGroupsOfChannelsAreTheHosts) {
  for (const int64_t size : {1, 2, 31, 32, 33, 500}) {
    for (const int64_t groups : {1, 3}) {
      for (const int64_t blocks : {0, 1, 9}) {
        SCOPED_TRACE(::testing::Message()
                     << blocks << " blocks, " << groups << " groups of " << size);
        const Tensor moments = Blocks(blocks, size * groups);
        ExpectHostsBits([&](Executor& e) -> std::vector<Tensor> {
          Tensor x = e.Clone(moments);
          e.MergeChannels(groups, x);
          return {x};
        });
      }
    }
  }
}

TEST_F(CudaStatisticsTest, InputTermsAreTheHosts) {
  for (const int64_t channels : {1, 3, 66}) {
    for (const int64_t segments : {0, 1, 7, 700}) {
      for (const bool affine : {false, true}) {
        SCOPED_TRACE(::testing::Message() << segments << " segments, " << channels << " channels");
        const Shape shape{segments, channels};
        const Tensor sum_dy = Thirds(shape, "sum_dy"), sum_dy_xhat = Thirds(shape, "sum_dy_xhat");
        Tensor counts = Filled({segments}, 0);
        for (int64_t s = 0; s < segments; ++s)
          counts.Data<double>()[s] = static_cast<double>(s % 5 * 7);
        const Tensor gamma =
            affine ? As(RandomNormal({channels}, "gamma"), DType::kFloat32) : Tensor();
        std::vector<int64_t> sizes;
        for (int64_t left = segments; left > 0; left -= sizes.back()) {
          sizes.push_back(std::min<int64_t>(left, static_cast<int64_t>(sizes.size()) % 4));
        }
        const auto parts = [&](Executor& e, const auto& operation) -> std::vector<Tensor> {
          const InputTerms terms = operation(OnDevice(e, sum_dy), OnDevice(e, sum_dy_xhat),
                                             OnDevice(e, counts), OnDevice(e, gamma));
          return {terms.mean_dy, terms.mean_dy_xhat};
        };
        for (const auto& sharing : {std::vector<int64_t>(), sizes}) {
          ExpectHostsBits([&](Executor& e) {
            return parts(e, [&](auto... given) { return e.BatchInputTerms(given..., sharing); });
          });
        }
        if (segments > 100) continue;  // those are for the many sizes
        for (const int64_t groups : {int64_t{1}, channels}) {
          ExpectHostsBits([&](Executor& e) {
            return parts(e, [&](auto... given) { return e.GroupInputTerms(given..., groups); });
          });
        }
      }
    }
  }
}

TEST_F(CudaStatisticsTest, RenormalizationIsTheHosts) {
  for (const int64_t channels : {1, 10, 65}) {
    for (const int64_t segments : {0, 1, 4}) {
      const Shape shape{segments, channels};
      Tensor inv_std = Thirds(shape, "inv_std", 3),
             running_inv_std = Thirds({channels}, "running_inv_std", 3);
      for (Tensor* x : {&inv_std, &running_inv_std}) {
        for (double& value : x->Span<double>()) value = std::abs(value);
      }
      ExpectHostsBits([&](Executor& e) -> std::vector<Tensor> {
        Statistics s{
            .mean = e.Clone(Thirds(shape, "mean")), .inv_std = e.Clone(inv_std), .counts = {}};
        const Renorm renorm = e.Renormalize({.r_max = 1.3, .d_max = 0.4},
                                            OnDevice(e, Thirds({channels}, "running_mean")),
                                            OnDevice(e, running_inv_std), s);
        InputTerms terms{e.Clone(Thirds(shape, "mean_dy")), e.Clone(Thirds(shape, "mean_dy_xhat"))};
        e.RenormInputTerms(renorm, terms);
        return {s.mean, s.inv_std, renorm.r, renorm.d, terms.mean_dy, terms.mean_dy_xhat};
      });
    }
  }
  ExpectHostsBits([&](Executor& e) -> std::vector<Tensor> {
    Tensor variance = Thirds({1000}, "variance");
    for (double& value : variance.Span<double>()) value = std::abs(value);
    return {e.InverseStd(OnDevice(e, variance), 1e-5)};
  });
}

// Whole numbers, so that every order gives the same sums: segments enough for several blocks of
// threads.
TEST_F(CudaStatisticsTest, AffineGradientsOfManySegments) {
  for (const int64_t channels : {1, 5, 160}) {
    for (const int64_t segments : {0, 1, 33, 9001}) {
      if (channels * segments > 400'000) continue;
      SCOPED_TRACE(::testing::Message() << segments << " segments, " << channels << " channels");
      const Tensor sum_dy = RandomIntegers({segments, channels}, "sum_dy", -9, 9);
      const Tensor sum_dy_xhat = RandomIntegers({segments, channels}, "sum_dy_xhat", -9, 9);
      Tensor dgamma = device_->New({channels}), dbeta = device_->New({channels});
      device_->Fill(dgamma, 3);
      const Tensor there = OnDevice(*device_, sum_dy), there_xhat = OnDevice(*device_, sum_dy_xhat);
      device_->AffineGradients(there, there_xhat, {dgamma, true}, {dbeta, false});
      Tensor gamma = Filled({channels}, 3), beta = Filled({channels}, 0);
      for (int64_t i = 0; i < sum_dy.elements(); ++i) {
        gamma.Data<double>()[i % channels] += sum_dy_xhat.Data<double>()[i];
        beta.Data<double>()[i % channels] += sum_dy.Data<double>()[i];
      }
      EXPECT_TRUE(Equal(std::as_const(dgamma).OnHost(), gamma));
      EXPECT_TRUE(Equal(std::as_const(dbeta).OnHost(), beta));
    }
  }
}

// Shapes that take several blocks a segment, with rows taken together and a rest, and with columns
// in several tiles.
TEST_F(CudaStatisticsTest, LargeSegmentsAreSummedTheSameFromEveryAddress) {
  struct Case {
    int64_t segments, rows, channels;
  };
  for (const auto& [segments, rows, channels] : std::vector<Case>{
           {1, 20001, 1}, {2, 9003, 2}, {1, 9001, 3}, {3, 3001, 6}, {1, 700, 130}, {2, 301, 260}}) {
    SCOPED_TRACE(::testing::Message()
                 << segments << " segments, " << rows << " rows, " << channels << " channels");
    const RowLayout layout{segments, 1, rows, channels};
    const Shape shape{segments * rows, channels}, statistics{segments, channels};
    const Tensor x = RandomNormal(shape, "x", 1000), dy = RandomNormal(shape, "dy");
    const auto all = [&](Executor& e, const Tensor& here,
                         const Tensor& gradient) -> std::vector<Tensor> {
      Tensor moments = e.New({segments, 1 + 2 * channels}, DType::kFloat64);
      e.Moments(layout, here, moments);
      const Statistics s = e.FinishMoments(moments, {}, 1e-5);
      const Normalization norm{.layout = layout,
                               .mean = s.mean,
                               .inv_std = s.inv_std,
                               .gamma = {},
                               .beta = {},
                               .relu = true};
      Tensor sum_dy = e.New(statistics, DType::kFloat64),
             sum_dy_xhat = e.New(statistics, DType::kFloat64);
      e.NormalizeBackwardSums(norm, here, {}, gradient, sum_dy, sum_dy_xhat);
      const InputTerms terms = e.BatchInputTerms(sum_dy, sum_dy_xhat, s.counts, {}, {});
      return {moments, sum_dy, sum_dy_xhat, e.NormalizeForward(norm, here, {}),
              e.NormalizeBackwardInput(norm, here, {}, gradient, terms, nullptr)};
    };
    const std::vector<Tensor> expected = all(*host_, x, dy);
    const std::vector<Tensor> first = all(*device_, Shifted(x, 0), Shifted(dy, 0));
    EXPECT_TRUE(Near(first[0].OnHost(), expected[0], 1e-12));
    for (const int i : {1, 2})
      EXPECT_TRUE(Near(first[i].OnHost(), expected[i], 1e-6, std::sqrt(rows))) << i;
    for (const int i : {3, 4}) EXPECT_TRUE(Near(first[i].OnHost(), expected[i], 1e-6)) << i;
    for (const auto& [of_x, of_dy] : {std::pair{1, 0}, {2, 3}, {0, 1}, {4, 4}}) {
      const std::vector<Tensor> shifted = all(*device_, Shifted(x, of_x), Shifted(dy, of_dy));
      for (size_t i = 0; i < first.size(); ++i) {
        EXPECT_TRUE(SameBits(shifted[i].OnHost(), first[i].OnHost()))
            << "result " << i << ", offset " << of_x;
      }
    }
  }
}

// A first row that is far from all others is the worst shift there is.
TEST_F(CudaStatisticsTest, MomentsAreAccurateWhenTheFirstRowIsFarOff) {
  const int64_t rows = 20000;
  Tensor x = RandomNormal({rows, 1}, "x", 0, 1e-3);
  x.Data<double>()[0] = 1e6;
  std::vector<Tensor> moments;
  for (Executor* e : {device_.get(), host_.get()}) {
    moments.push_back(e->New({1, 3}, DType::kFloat64));
    e->Moments({1, 1, rows, 1}, e->ToDevice(x, e->types().activations), moments.back());
  }
  const Tensor actual = std::as_const(moments[0]).OnHost(), expected = moments[1];
  for (const int i : {1, 2}) {
    EXPECT_NEAR(actual.Data<double>()[i], expected.Data<double>()[i],
                1e-9 * expected.Data<double>()[i]);
  }
}

TEST_F(CudaStatisticsTest, NothingStopsTheHost) {
  Executor& e = *device_;
  const RowLayout layout{2, 3, 50, 8};
  const Tensor x = e.ToDevice(RandomNormal({300, 8}, "x"), DType::kFloat32);
  const std::vector<int64_t> channels = {8}, sizes = {2};
  Tensor ones = e.New({8}, DType::kFloat64);
  const int64_t before = emulation::HostSynchronizations();
  e.Fill(ones, 1);
  for (int round = 0; round < 3; ++round) {
    Tensor moments = e.New({2, 17}, DType::kFloat64), merged = e.NewZeros({1, 17}, DType::kFloat64);
    e.Moments(layout, x, moments);
    e.MergeMoments(channels, sizes, moments, merged);
    e.MergeChannels(2, merged);
    Statistics s = e.FinishMoments(merged, sizes, 1e-5);
    const Renorm renorm = e.Renormalize({}, ones, ones, s);
    const Normalization norm{.layout = layout,
                             .mean = s.mean,
                             .inv_std = s.inv_std,
                             .gamma = {},
                             .beta = {},
                             .relu = true};
    const Tensor y = e.NormalizeForward(norm, x, x);
    Tensor sum_dy = e.New({2, 8}, DType::kFloat64), sum_dy_xhat = e.New({2, 8}, DType::kFloat64);
    e.NormalizeBackwardSums(norm, x, y, x, sum_dy, sum_dy_xhat);
    Tensor dgamma = e.New({8}), dresidual;
    e.AffineGradients(sum_dy, sum_dy_xhat, {dgamma, false}, {});
    InputTerms terms = e.BatchInputTerms(sum_dy, sum_dy_xhat, s.counts, {}, sizes);
    e.RenormInputTerms(renorm, terms);
    e.GroupInputTerms(sum_dy, sum_dy_xhat, s.counts, {}, 2);
    e.NormalizeBackwardInput(norm, x, y, e.Clone(x), terms, &dresidual);
  }
  EXPECT_EQ(emulation::HostSynchronizations(), before);
  e.Synchronize();
  EXPECT_EQ(emulation::FirstFault(), "");
}

}  // namespace
}  // namespace syncbn::backend
