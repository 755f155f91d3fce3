#include "train/probes/layer_meter.h"

#include <limits>
#include <memory>
#include <utility>

#include "backend/merge.h"
#include "base/check.h"
#include "nn/norm.h"

namespace syncbn::train {
namespace {

using backend::ActivationKind;
using backend::MomentsElements;

// Below it, an activation's derivative counts as saturated.
constexpr double kSaturated = 0.01;

// 1 at the elements at which the absolute derivative of an activation is above kSaturated, else 0.
// `kept`: see LayerWatch.
Tensor Unsaturated(backend::Executor& executor, ActivationKind kind, const Tensor& kept) {
  const auto filled = [&](double value) {
    Tensor x = executor.New(kept.shape());
    executor.Fill(x, value);
    return x;
  };
  // Where sign * derivative - kSaturated would pass a ReLU.
  const auto beyond = [&](double sign) {
    const Tensor derivative = executor.ActivationBackward(kind, kept, filled(sign));
    const Tensor above = executor.Add(filled(-kSaturated), derivative);
    return executor.ActivationBackward(ActivationKind::kRelu, above, filled(1));
  };
  return executor.Add(beyond(1), beyond(-1));
}

}  // namespace

LayerMeter::LayerMeter(std::vector<nn::LayerOutput> layers, const Options& options)
    : layers_(std::move(layers)), options_(options) {
  const auto add_block = [&](int64_t channels) {
    channels_.push_back(channels);
    offsets_.push_back(elements_);
    elements_ += MomentsElements(channels);
  };
  for (const nn::LayerOutput& layer : layers_) {
    index_.emplace(layer.layer, index_.size());
    add_block(layer.sample.channels());
  }
  for (const nn::LayerOutput& layer : layers_) {
    unsaturated_.push_back(-1);
    if (!options_.saturation || !layer.activation) continue;
    unsaturated_.back() = static_cast<int>(channels_.size());
    add_block(layer.sample.channels());
  }
}

// Of one replica's pass.
class LayerMeter::Watch : public PassWatch {
 public:
  // `moments` and `squares` receive what all have seen.
  Watch(const LayerMeter& meter, backend::Executor& executor, Tensor moments, Tensor squares)
      : meter_(meter),
        executor_(executor),
        all_moments_(std::move(moments)),
        all_squares_(std::move(squares)),
        moments_(executor.NewZeros(all_moments_.shape(), DType::kFloat64)),
        squares_(executor.NewZeros(all_squares_.shape(), DType::kFloat64)) {}

  void OnOutput(std::string_view layer, const Tensor& y) override {
    const auto found = meter_.index_.find(layer);
    if (found == meter_.index_.end()) return;
    AddMoments(found->second, y);
  }

  void OnActivation(std::string_view layer, ActivationKind kind, const Tensor& kept) override {
    const auto found = meter_.index_.find(layer);
    if (found == meter_.index_.end()) return;
    const int block = meter_.unsaturated_[found->second];
    if (block < 0) return;
    AddMoments(static_cast<size_t>(block), Unsaturated(executor_, kind, kept));
  }

  void OnOutputGradient(std::string_view layer, const Tensor& dy) override {
    const auto found = meter_.index_.find(layer);
    if (!meter_.options_.gradients || found == meter_.index_.end()) return;
    Tensor square = executor_.New({1}, DType::kFloat64);
    executor_.SumsOfSquares(std::span(&dy, 1), square);
    Tensor sum = squares_.Slice(static_cast<int64_t>(found->second), {1});
    executor_.AddSum(square, sum);
  }

  std::vector<comm::Reducer::Handle> Reduce(const comm::ReplicaLink& link, bool receives) override {
    const comm::Group all{0, link.replicas()};
    std::vector<comm::Reducer::Handle> handles;
    handles.push_back(link.Start({.operation = comm::Operation::kMergeMoments,
                                  .group = all,
                                  .contribution = std::move(moments_),
                                  .ready = executor_.Record(),
                                  .result = receives ? all_moments_ : Tensor(),
                                  .channels = meter_.channels_,
                                  .name = "moments of outputs"}));
    if (!meter_.options_.gradients) return handles;
    handles.push_back(link.Start({.operation = comm::Operation::kSum,
                                  .group = all,
                                  .contribution = std::move(squares_),
                                  .ready = executor_.Record(),
                                  .result = receives ? all_squares_ : Tensor(),
                                  .name = "gradients of outputs"}));
    return handles;
  }

 private:
  void AddMoments(size_t block, const Tensor& x) {
    const int64_t& channels = meter_.channels_[block];
    SYNCBN_CHECK_EQ(x.shape().channels(), channels) << "channels of a layer's output";
    const Shape shape{1, MomentsElements(channels)};
    Tensor seen = executor_.New(shape, DType::kFloat64);
    executor_.Moments(nn::LayoutOf(x.shape(), 1, x.shape()[0]), x, seen);
    Tensor sum = moments_.Slice(meter_.offsets_[block], shape);
    executor_.MergeMoments({&channels, 1}, {}, seen, sum);
  }

  const LayerMeter& meter_;
  backend::Executor& executor_;
  const Tensor all_moments_, all_squares_;
  Tensor moments_, squares_;
};

std::vector<OutputStatistics> LayerMeter::Measure(const ProbedStep& step,
                                                  const nn::ParameterSet& at) const {
  if (layers_.empty()) return {};
  const Tensor moments = step.executor->NewZeros({elements_}, DType::kFloat64);
  const Tensor squares =
      step.executor->NewZeros({static_cast<int64_t>(layers_.size())}, DType::kFloat64);
  step.watch_at(at, options_.gradients, [&](backend::Executor& executor) {
    return std::make_unique<Watch>(*this, executor, moments, squares);
  });
  const Tensor all = moments.OnHost(), gradients = squares.OnHost();
  const auto block = [&](size_t index) {
    return all.Span<double>().subspan(static_cast<size_t>(offsets_[index]),
                                      static_cast<size_t>(MomentsElements(channels_[index])));
  };
  std::vector<OutputStatistics> result(layers_.size());
  for (size_t i = 0; i < layers_.size(); ++i) {
    const std::span<const double> own = block(i);
    result[i].moments.assign(own.begin(), own.end());
    result[i].squared_gradient = gradients.Span<double>()[i];
    result[i].saturated = std::numeric_limits<double>::quiet_NaN();
    if (unsaturated_[i] < 0) continue;
    const std::span<const double> seen = block(static_cast<size_t>(unsaturated_[i]));
    double share = 0;
    for (size_t c = 0; c < result[i].channels(); ++c) share += seen[1 + c];
    result[i].saturated = 1 - share / static_cast<double>(result[i].channels());
  }
  return result;
}

}  // namespace syncbn::train
