#include "tests/backend/small_step.h"

#include <cmath>
#include <utility>

#include "tests/backend/moments.h"
#include "tests/backend/support.h"

namespace syncbn::backend {
namespace {

constexpr int64_t kClasses = 10, kChannels = 16;

// The parameters' values depend on `scale`, so that two steps with different ones can share memory
// addresses but not packed weights.
Tensor Parameter(Executor& e, Shape shape, const char* name, double scale) {
  return backend::Parameter(e, RandomNormal(shape, name, 0, 0.25 * scale));
}

class Net {
 public:
  Net(Executor& e, int64_t samples, double scale)
      : e_(e),
        samples_(samples),
        weight1_(Parameter(e, conv1_.WeightShape(), "weight1", scale)),
        weight2_(Parameter(e, conv2_.WeightShape(), "weight2", scale)),
        gamma_(Parameter(e, {kChannels}, "gamma", scale)),
        beta_(Parameter(e, {kChannels}, "beta", scale)),
        weight3_(Parameter(e, {kClasses, kChannels * 3 * 2}, "weight3", scale)),
        bias3_(Parameter(e, {kClasses}, "bias3", scale)) {}

  std::vector<Tensor> Step() {
    const Tensor images = In(e_, RandomNormal({samples_, 7, 5, 3}, "images"));
    const Tensor labels = OnDevice(e_, RandomLabels(samples_, "labels", kClasses));
    const std::vector<RandomKey> keys = Keys(samples_, "dropout");

    const Tensor h1 = Keep(e_.Conv2dForward(conv1_, images, weight1_, {}));
    const Normalization norm = Statistics(h1);
    const Tensor h2 = Keep(e_.NormalizeForward(norm, h1, {}));
    const Tensor h3 = Keep(e_.Conv2dForward(conv2_, h2, weight2_, {}));
    const Tensor h4 = Keep(e_.Add(h3, h2));
    const Tensor h5 = Keep(e_.ActivationForward(ActivationKind::kTanh, h4));
    const PoolResult pooled = e_.Pool2dForward(pool_, h5);
    Keep(pooled.y);
    const Tensor h6 = Keep(e_.Dropout(e_.FlattenToChannelsFirst(pooled.y), keys, 0.25));
    const LossResult loss = e_.SoftmaxCrossEntropy(Keep(e_.LinearForward(h6, weight3_, bias3_)),
                                                   labels, 0.1, 0.125, true);
    Keep(loss.losses);
    Keep(loss.dlogits);

    // Gradients that nobody else needs are given away.
    LinearGradients(h6, loss.dlogits);
    Tensor d = e_.Dropout(e_.LinearBackwardInput(loss.dlogits, weight3_), keys, 0.25);
    d = e_.UnflattenFromChannelsFirst(pooled.y.shape(), d);
    d = e_.Pool2dBackward(pool_, h5.shape(), d, pooled.positions);
    d = e_.ActivationBackward(ActivationKind::kTanh, h5, std::move(d));
    ConvolutionGradients(conv2_, h2, d);
    d = e_.Add(e_.Conv2dBackwardInput(conv2_, h2.shape(), d, weight2_), d);
    const Tensor dx = NormBackward(norm, h1, std::move(d));
    ConvolutionGradients(conv1_, images, dx);
    Keep(e_.Conv2dBackwardInput(conv1_, images.shape(), dx, weight1_));
    return std::move(results_);
  }

 private:
  Tensor Keep(Tensor x) {
    results_.push_back(x);
    return x;
  }

  Normalization Statistics(const Tensor& x) {
    Normalization norm{.layout = {.segments = 1,
                                  .samples = samples_,
                                  .rows_per_sample = 7 * 5,
                                  .channels = kChannels},
                       .gamma = gamma_,
                       .beta = beta_,
                       .relu = true};
    const MeanAndM2 moments = MomentsOf(e_, norm.layout, x);
    Tensor inv_std = moments.m2;
    for (double& value : inv_std.Span<double>()) {
      value = 1 / std::sqrt(value / static_cast<double>(norm.layout.rows() + 1) + 1e-5);
    }
    norm.mean = OnDevice(e_, moments.mean);
    norm.inv_std = OnDevice(e_, inv_std);
    Keep(norm.mean);
    Keep(norm.inv_std);
    return norm;
  }

  Tensor NormBackward(const Normalization& norm, const Tensor& x, Tensor dy) {
    Tensor a = e_.New({1, kChannels}, DType::kFloat64), b = e_.New({1, kChannels}, DType::kFloat64);
    e_.NormalizeBackwardSums(norm, x, {}, dy, a, b);
    Keep(e_.Clone(a));
    Keep(e_.Clone(b));
    return Keep(e_.NormalizeBackwardInput(norm, x, {}, std::move(dy), {a, b}, nullptr));
  }

  Tensor Gradient(const Shape& shape) { return e_.New(shape, e_.types().gradients); }

  void ConvolutionGradients(const Conv2dSpec& spec, const Tensor& x, const Tensor& dy) {
    const Tensor dweight = Keep(Gradient(spec.WeightShape()));
    e_.Conv2dBackwardWeights(spec, x, dy, {.tensor = dweight}, {});
  }

  void LinearGradients(const Tensor& x, const Tensor& dy) {
    const Tensor dweight = Keep(Gradient(weight3_.shape())), dbias = Keep(Gradient(bias3_.shape()));
    e_.LinearBackwardWeights(x, dy, {.tensor = dweight}, {.tensor = dbias});
  }

  const Conv2dSpec conv1_{.in_channels = 3,
                          .out_channels = kChannels,
                          .kernel_h = 3,
                          .kernel_w = 3,
                          .pad_h = 1,
                          .pad_w = 1};
  const Conv2dSpec conv2_{.in_channels = kChannels,
                          .out_channels = kChannels,
                          .kernel_h = 3,
                          .kernel_w = 3,
                          .pad_h = 1,
                          .pad_w = 1,
                          .groups = 2};
  const Pool2dSpec pool_{.kind = PoolKind::kMax, .kernel = 2, .stride = 2};

  Executor& e_;
  int64_t samples_;
  Tensor weight1_, weight2_, gamma_, beta_, weight3_, bias3_;
  std::vector<Tensor> results_;
};

}  // namespace

std::vector<Tensor> SmallStep(Executor& executor, int64_t samples, double scale) {
  return Net(executor, samples, scale).Step();
}

}  // namespace syncbn::backend
