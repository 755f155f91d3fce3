// The negative controls of claim C14: four ways to get synchronized batch norm wrong, each of which
// the criterion by which the right one is judged must catch.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/nn/cluster.h"
#include "tests/nn/norm_support.h"

namespace syncbn::nn {
namespace {

// First step, against one replica with the whole batch (CLAIMS.md, C14: in float32).
constexpr double kCriterion = 1e-5;

enum class Variant {
  kRight,
  kLocalStatistics,    // every replica normalizes by itself
  kLocalBackward,      // statistics are shared, the sums of the backward pass are not
  kMeanOfMeans,        // replicas' means and variances are averaged, counts ignored
  kLocalRunningCount,  // the running variance is made unbiased with a replica's count
};

struct Step {
  Tensor y, dx, running_mean, running_var;
};

::testing::AssertionResult Agrees(const Step& actual, const Step& expected) {
  const auto compare = [](const char* what, const Tensor& a, const Tensor& b) {
    const ::testing::AssertionResult result = Near(a, b, kCriterion);
    return result ? result : ::testing::AssertionFailure() << what << ": " << result.message();
  };
  for (const ::testing::AssertionResult& result :
       {compare("output", actual.y, expected.y), compare("input gradient", actual.dx, expected.dx),
        compare("running mean", actual.running_mean, expected.running_mean),
        compare("running variance", actual.running_var, expected.running_var)}) {
    if (!result) return result;
  }
  return ::testing::AssertionSuccess();
}

// Batch norm of one channel over replicas, written down as plainly as possible.
Step PlainStep(const std::vector<Part>& parts, Variant variant) {
  constexpr double kEpsilon = 1e-5, kMomentum = 0.1;
  const size_t replicas = parts.size();
  std::vector<double> count(replicas), mean(replicas), var(replicas), sum_dy(replicas),
      sum_dy_xhat(replicas);
  double total = 0;
  for (size_t r = 0; r < replicas; ++r) {
    const Tensor moments = MomentsOf(parts[r].images);
    const double* values = moments.Data<double>();
    count[r] = values[0];
    mean[r] = values[1];
    var[r] = values[2] / std::max(1.0, count[r]);
    total += count[r];
  }
  double shared_mean = 0, shared_var = 0;
  for (size_t r = 0; r < replicas; ++r) {
    const double weight =
        variant == Variant::kMeanOfMeans ? 1.0 / static_cast<double>(replicas) : count[r] / total;
    shared_mean += weight * mean[r];
  }
  for (size_t r = 0; r < replicas; ++r) {
    if (variant == Variant::kMeanOfMeans) {
      shared_var += var[r] / static_cast<double>(replicas);
    } else {
      shared_var += count[r] / total * (var[r] + std::pow(mean[r] - shared_mean, 2));
    }
  }
  if (variant != Variant::kLocalStatistics) {
    for (size_t r = 0; r < replicas; ++r) mean[r] = shared_mean, var[r] = shared_var;
  }
  std::vector<Tensor> ys, xhats, dxs;
  double shared_dy = 0, shared_dy_xhat = 0;
  for (size_t r = 0; r < replicas; ++r) {
    Tensor xhat = parts[r].images.Clone();
    const double* dy = parts[r].dlogits.Data<double>();
    for (int64_t i = 0; i < xhat.elements(); ++i) {
      double& value = xhat.Data<double>()[i];
      value = (value - mean[r]) / std::sqrt(var[r] + kEpsilon);
      sum_dy[r] += dy[i];
      sum_dy_xhat[r] += dy[i] * value;
    }
    shared_dy += sum_dy[r];
    shared_dy_xhat += sum_dy_xhat[r];
    ys.push_back(xhat.Reshape({xhat.elements(), 1}));
  }
  const bool local = variant == Variant::kLocalStatistics || variant == Variant::kLocalBackward;
  for (size_t r = 0; r < replicas; ++r) {
    const double n = local ? count[r] : total;
    Tensor dx = ys[r].Clone();
    for (int64_t i = 0; i < dx.elements(); ++i) {
      double& value = dx.Data<double>()[i];
      value = (parts[r].dlogits.Data<double>()[i] - (local ? sum_dy[r] : shared_dy) / n -
               value * (local ? sum_dy_xhat[r] : shared_dy_xhat) / n) /
              std::sqrt(var[r] + kEpsilon);
    }
    dxs.push_back(dx);
  }
  Step step{.y = Stacked(ys), .dx = Stacked(dxs)};
  const double n = variant == Variant::kLocalRunningCount ? count[0] : total;
  step.running_mean = Tensor({1}, DType::kFloat64);
  step.running_mean.Data<double>()[0] = kMomentum * mean[0];
  step.running_var = Tensor({1}, DType::kFloat64);
  step.running_var.Data<double>()[0] = (1 - kMomentum) + kMomentum * var[0] * n / (n - 1);
  return step;
}

class ControlsTest : public ::testing::TestWithParam<std::vector<int64_t>> {
 protected:
  void SetUp() override { parts_ = UnequalParts({1, 1, 1, 1}, GetParam()); }

  // Of the layer under test: `replicas` replicas, or one with everything.
  Step LayerStep(bool whole) const {
    const int replicas = whole ? 1 : static_cast<int>(parts_.size());
    const NormNet net(1, 1, 1, "affine: false", MakeCluster(replicas, {32}));
    const PassSettings settings{
        .parameters = RandomParameters(*net.model),
        .running_statistics = InitialRunningStatistics(net.model->running_statistics())};
    Cluster cluster(replicas, replicas);
    const PassResult joined =
        Joined(*net.model, cluster.Run(*net.model, settings,
                                       whole ? std::vector<Part>{StackedParts(parts_)} : parts_));
    const Tensor state = UpdatedOnHost(net.model->running_statistics(), net.model->running_rule(),
                                       settings.running_statistics, joined.moments);
    return {.y = joined.logits,
            .dx = joined.dimages.Reshape({joined.dimages.elements(), 1}),
            .running_mean = state.Slice(0, {1}),
            .running_var = state.Slice(1, {1})};
  }

  std::vector<Part> parts_;
};

TEST_P(ControlsTest, TheLayerAgreesWithOneReplicaThatHasTheWholeBatch) {
  EXPECT_TRUE(Agrees(LayerStep(false), LayerStep(true)));
}

TEST_P(ControlsTest, ThePlainStepAgreesWhenItIsRight) {
  EXPECT_TRUE(Agrees(PlainStep(parts_, Variant::kRight), LayerStep(true)));
}

TEST_P(ControlsTest, LocalStatisticsAreCaught) {
  EXPECT_FALSE(Agrees(PlainStep(parts_, Variant::kLocalStatistics), LayerStep(true)));
}

TEST_P(ControlsTest, ALocalBackwardPassIsCaught) {
  const Step wrong = PlainStep(parts_, Variant::kLocalBackward), right = LayerStep(true);
  EXPECT_TRUE(Near(wrong.y, right.y, kCriterion)) << "its forward pass is right";
  EXPECT_FALSE(Agrees(wrong, right));
}

TEST_P(ControlsTest, AMeanOfMeansIsCaught) {
  EXPECT_FALSE(Agrees(PlainStep(parts_, Variant::kMeanOfMeans), LayerStep(true)));
}

TEST_P(ControlsTest, TheLocalCountInTheRunningVarianceIsCaught) {
  const Step wrong = PlainStep(parts_, Variant::kLocalRunningCount), right = LayerStep(true);
  EXPECT_TRUE(Near(wrong.dx, right.dx, kCriterion)) << "its passes are right";
  EXPECT_FALSE(Agrees(wrong, right));
}

// 64 samples: even, uneven, one replica empty.
INSTANTIATE_TEST_SUITE_P(C14, ControlsTest,
                         ::testing::Values(std::vector<int64_t>{32, 32},
                                           std::vector<int64_t>{16, 16, 16, 16},
                                           std::vector<int64_t>{29, 17, 11, 7},
                                           std::vector<int64_t>{30, 22, 12, 0}));

}  // namespace
}  // namespace syncbn::nn
