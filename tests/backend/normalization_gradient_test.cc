// The backward pass of a normalization whose statistics depend on its input, from moments to dx,
// against central differences in double; and the properties that dx must have whatever the numbers.

#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>

#include "backend/backend.h"
#include "tests/backend/moments.h"
#include "tests/backend/support.h"
#include "tests/support/gradient_check.h"

namespace syncbn::backend {
namespace {

constexpr double kEpsilon = 1e-3;

struct Options {
  RowLayout layout;
  bool affine = true;
  bool relu = false;
  bool residual = false;
  // False: mean and inv_std are given, as in inference.
  bool batch_statistics = true;
};

std::ostream& operator<<(std::ostream& out, const Options& options) {
  return out << "segments " << options.layout.segments << ", samples " << options.layout.samples
             << ", rows " << options.layout.rows_per_sample << ", channels "
             << options.layout.channels << (options.affine ? ", affine" : "")
             << (options.relu ? ", relu" : "") << (options.residual ? ", residual" : "")
             << (options.batch_statistics ? "" : ", given statistics");
}

// Inputs of one check: {x, residual, gamma, beta}, undefined where not used.
std::vector<Tensor> Inputs(const Options& options, int draw) {
  const RowLayout& layout = options.layout;
  const std::string suffix = std::to_string(draw);
  const Shape x{layout.segments * layout.samples, layout.rows_per_sample, layout.channels};
  std::vector<Tensor> inputs(4);
  inputs[0] = RandomNormal(x, "x" + suffix, 3, 2);
  if (options.residual) inputs[1] = RandomNormal(x, "residual" + suffix);
  if (options.affine) {
    inputs[2] = RandomNormal({layout.channels}, "gamma" + suffix, 1, 0.5);
    inputs[3] = RandomNormal({layout.channels}, "beta" + suffix);
  }
  return inputs;
}

Normalization Statistics(Executor& executor, const Options& options,
                         std::span<const Tensor> inputs) {
  const RowLayout& layout = options.layout;
  const Shape statistics{layout.segments, layout.channels};
  Normalization norm{.layout = layout, .gamma = inputs[2], .beta = inputs[3], .relu = options.relu};
  if (!options.batch_statistics) {
    norm.mean = RandomNormal(statistics, "mean", 3, 0.1);
    norm.inv_std = Filled(statistics, 0.5);
    return norm;
  }
  const MeanAndM2 moments = MomentsOf(executor, layout, inputs[0]);
  norm.mean = moments.mean;
  norm.inv_std = moments.m2;
  const auto count = static_cast<double>(layout.rows_per_segment());
  for (double& value : norm.inv_std.Span<double>()) {
    value = 1 / std::sqrt(value / count + kEpsilon);  // from the sum of squared deviations
  }
  return norm;
}

struct Gradients {
  Tensor dx, dresidual, dgamma, dbeta;
};

Gradients Backward(Executor& executor, const Options& options, std::span<const Tensor> inputs,
                   const Normalization& norm, const Tensor& y, const Tensor& dy) {
  const RowLayout& layout = options.layout;
  const Shape statistics{layout.segments, layout.channels};
  Tensor sum_dy = executor.New(statistics), sum_dy_xhat = executor.New(statistics);
  const Tensor mask_source = options.residual ? y : Tensor();
  executor.NormalizeBackwardSums(norm, inputs[0], mask_source, dy, sum_dy, sum_dy_xhat);

  Gradients gradients;
  gradients.dgamma = Tensor::Zeros({layout.channels}, DType::kFloat64);
  gradients.dbeta = Tensor::Zeros({layout.channels}, DType::kFloat64);
  Tensor a = sum_dy.Clone(), b = sum_dy_xhat.Clone();
  for (int64_t k = 0; k < sum_dy.elements(); ++k) {
    const int64_t channel = k % layout.channels;
    gradients.dbeta.Data<double>()[channel] += sum_dy.Data<double>()[k];
    gradients.dgamma.Data<double>()[channel] += sum_dy_xhat.Data<double>()[k];
    const double gamma = options.affine ? inputs[2].Data<double>()[channel] : 1;
    const double factor = gamma / static_cast<double>(layout.rows_per_segment());
    a.Data<double>()[k] *= factor;
    b.Data<double>()[k] *= factor;
  }
  if (!options.batch_statistics) a = b = Tensor();
  gradients.dx = executor.NormalizeBackwardInput(norm, inputs[0], mask_source, dy, {a, b},
                                                 options.residual ? &gradients.dresidual : nullptr);
  return gradients;
}

class NormalizationGradient : public ::testing::Test {
 protected:
  void Check(const Options& options) {
    SCOPED_TRACE(::testing::Message() << options);
    const std::vector<Tensor> inputs = InputsAwayFromTheKink(options);
    const Normalization norm = Statistics(*executor_, options, inputs);
    const Tensor y = executor_->NormalizeForward(norm, inputs[0], inputs[1]);
    const Tensor dy = RandomNormal(y.shape(), "dy");
    const Gradients gradients = Backward(*executor_, options, inputs, norm, y, dy);

    const std::vector<Tensor> all_gradients = {gradients.dx, gradients.dresidual,
                                               options.affine ? gradients.dgamma : Tensor(),
                                               options.affine ? gradients.dbeta : Tensor()};
    const auto loss = [&](std::span<const Tensor> in) {
      return Dot(executor_->NormalizeForward(Statistics(*executor_, options, in), in[0], in[1]),
                 dy);
    };
    EXPECT_TRUE(GradientsMatch(loss, inputs, all_gradients));
  }

  // The first draw that has no pre-activation where moving an input by 2e-4 could reach the kink.
  std::vector<Tensor> InputsAwayFromTheKink(Options options) {
    for (int draw = 0; draw < 100; ++draw) {
      const std::vector<Tensor> inputs = Inputs(options, draw);
      Normalization norm = Statistics(*executor_, options, inputs);
      norm.relu = false;
      const Tensor sum = executor_->NormalizeForward(norm, inputs[0], inputs[1]);
      if (!options.relu || DistanceFromZero(sum) > 1e-3) return inputs;
    }
    throw std::runtime_error("every draw has a pre-activation near 0");
  }

  std::unique_ptr<Executor> executor_ = MakeReferenceBackend()->MakeExecutor();
};

const RowLayout kBatch{.segments = 1, .samples = 4, .rows_per_sample = 6, .channels = 3};
const RowLayout kSlices{.segments = 2, .samples = 2, .rows_per_sample = 6, .channels = 3};
const RowLayout kInstances{.segments = 3, .samples = 1, .rows_per_sample = 5, .channels = 4};
// All features of a sample share statistics: one channel.
const RowLayout kFeatures{.segments = 3, .samples = 1, .rows_per_sample = 20, .channels = 1};

TEST_F(NormalizationGradient, OfPlainNormalization) {
  for (const RowLayout& layout : {kBatch, kSlices, kInstances, kFeatures}) {
    Check({.layout = layout, .affine = false});
    Check({.layout = layout});
  }
}

TEST_F(NormalizationGradient, WithReluAndResidual) {
  for (const RowLayout& layout : {kBatch, kSlices, kInstances}) {
    Check({.layout = layout, .relu = true});
    Check({.layout = layout, .affine = false, .relu = true});
    Check({.layout = layout, .residual = true});
    Check({.layout = layout, .relu = true, .residual = true});
  }
}

TEST_F(NormalizationGradient, WithGivenStatistics) {
  Check({.layout = kBatch, .batch_statistics = false});
  Check({.layout = kBatch, .relu = true, .residual = true, .batch_statistics = false});
}

TEST_F(NormalizationGradient, OfTwoRows) {
  Check({.layout = {.segments = 1, .samples = 2, .channels = 4}});
}

// BN(x + c) = BN(x), and BN(c x) = BN(x) up to epsilon: dx is orthogonal to 1 and, without epsilon,
// to xhat.
TEST_F(NormalizationGradient, IsOrthogonalToShiftsAndScales) {
  Options options{.layout = kBatch};
  const std::vector<Tensor> inputs = Inputs(options, 0);
  Normalization norm = Statistics(*executor_, options, inputs);
  const MeanAndM2 moments = MomentsOf(*executor_, kBatch, inputs[0]);
  norm.mean = moments.mean;
  const Tensor m2 = moments.m2;
  for (int64_t c = 0; c < kBatch.channels; ++c) {
    norm.inv_std.Data<double>()[c] =
        1 / std::sqrt(m2.Data<double>()[c] / static_cast<double>(kBatch.rows()));
  }
  const Tensor y = executor_->NormalizeForward(norm, inputs[0], {});
  const Gradients gradients =
      Backward(*executor_, options, inputs, norm, y, RandomNormal(y.shape(), "dy"));
  norm.gamma = norm.beta = Tensor();
  Tensor sum_dx = executor_->New({1, 3}), sum_dx_xhat = executor_->New({1, 3});
  executor_->NormalizeBackwardSums(norm, inputs[0], {}, gradients.dx, sum_dx, sum_dx_xhat);
  for (int64_t c = 0; c < kBatch.channels; ++c) {
    EXPECT_NEAR(sum_dx.Data<double>()[c], 0, 1e-13);
    EXPECT_NEAR(sum_dx_xhat.Data<double>()[c], 0, 1e-13);
  }
}

// With one row there is nothing to learn from: xhat and dx are 0 (and m = 2 without epsilon gives
// |xhat| = 1).
TEST_F(NormalizationGradient, OfOneRowIsZero) {
  Options options{.layout = {.segments = 1, .samples = 1, .channels = 3}};
  const std::vector<Tensor> inputs = Inputs(options, 0);
  const Normalization norm = Statistics(*executor_, options, inputs);
  const Tensor y = executor_->NormalizeForward(norm, inputs[0], {});
  EXPECT_TRUE(Equal(y.Reshape({3}), inputs[3]));
  const Gradients gradients =
      Backward(*executor_, options, inputs, norm, y, RandomNormal(y.shape(), "dy"));
  EXPECT_TRUE(Equal(gradients.dx, Filled(y.shape(), 0)));
}

}  // namespace
}  // namespace syncbn::backend
