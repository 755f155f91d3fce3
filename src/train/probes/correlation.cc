#include "train/probes/correlation.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nn/norm.h"
#include "train/probes/layer_figures.h"

namespace syncbn::train {
namespace {

constexpr const char* kOffDiagonal = "off_diagonal";
constexpr const char* kActivated = "off_diagonal_activated";

std::vector<nn::LayerOutput> CorrelatedOf(const nn::Model& model) {
  std::vector<nn::LayerOutput> layers;
  std::ranges::copy_if(model.outputs(), std::back_inserter(layers),
                       [](const nn::LayerOutput& output) {
                         const int64_t channels = output.sample.channels();
                         return channels > 1 && channels <= kMostCorrelatedChannels;
                       });
  return layers;
}

// A layer whose products are summed.
struct Standardized {
  // F64 [1, C] on the device; the inverse of a channel that is constant is 0.
  Tensor mean, inv_std;
  int64_t offset = 0;  // of its products
  int64_t channels = 0;
};

Standardized StandardizedBy(const OutputStatistics& output, backend::Executor& executor) {
  const int64_t channels = static_cast<int64_t>(output.channels());
  Tensor mean({1, channels}, DType::kFloat64), inv_std({1, channels}, DType::kFloat64);
  for (size_t c = 0; c < output.channels(); ++c) {
    const double std = std::sqrt(output.m2()[c] / output.count());
    mean.Span<double>()[c] = output.mean()[c];
    inv_std.Span<double>()[c] = std > 0 ? 1 / std : 0;
  }
  return {.mean = executor.ToDevice(mean, DType::kFloat64),
          .inv_std = executor.ToDevice(inv_std, DType::kFloat64),
          .channels = channels};
}

using ByLayer = std::map<std::string, Standardized, std::less<>>;

// Of one replica's pass.
class ProductWatch : public PassWatch {
 public:
  // `products` receives the sums of all.
  ProductWatch(const ByLayer& layers, backend::Executor& executor, Tensor products)
      : layers_(layers),
        executor_(executor),
        all_(std::move(products)),
        own_(executor.NewZeros(all_.shape(), all_.dtype())) {}

  void OnOutput(std::string_view layer, const Tensor& y) override {
    const auto found = layers_.find(layer);
    if (found == layers_.end()) return;
    const auto& [mean, inv_std, offset, channels] = found->second;
    const Tensor x = executor_.NormalizeForward(
        {.layout = nn::LayoutOf(y.shape(), 1, y.shape()[0]), .mean = mean, .inv_std = inv_std}, y,
        Tensor());
    const Tensor rows = x.Reshape({x.elements() / channels, channels});
    executor_.LinearBackwardWeights(
        rows, rows, {.tensor = own_.Slice(offset, {channels, channels}), .accumulate = true}, {});
  }
  void OnOutputGradient(std::string_view layer, const Tensor& dy) override {}

  std::vector<comm::Reducer::Handle> Reduce(const comm::ReplicaLink& link, bool receives) override {
    return {link.Start({.operation = comm::Operation::kSum,
                        .group = {0, link.replicas()},
                        .contribution = std::move(own_),
                        .ready = executor_.Record(),
                        .result = receives ? all_ : Tensor(),
                        .name = "products of channels"})};
  }

 private:
  const ByLayer& layers_;
  backend::Executor& executor_;
  const Tensor all_;
  Tensor own_;
};

}  // namespace

double MeanOffDiagonal(std::span<const double> products, int64_t channels) {
  const auto at = [&](int64_t i, int64_t j) {
    return products[static_cast<size_t>(i * channels + j)];
  };
  double sum = 0, pairs = 0;
  for (int64_t i = 0; i < channels; ++i) {
    if (at(i, i) == 0) continue;
    for (int64_t j = 0; j < i; ++j) {
      if (at(j, j) == 0) continue;
      sum += std::abs(at(i, j)) / std::sqrt(at(i, i) * at(j, j));
      pairs += 1;
    }
  }
  return sum / pairs;
}

CorrelationProbe::CorrelationProbe(int64_t every_steps, const nn::Model& unfused)
    : PeriodicProbe(every_steps), meter_(CorrelatedOf(unfused), {}) {
  CheckLayerFigures(name(), meter_.layers(), kActivated);
}

NamedFigures CorrelationProbe::Look(const ProbedStep& step) {
  backend::Executor& executor = *step.executor;
  const std::vector<OutputStatistics> outputs = meter_.Measure(step, step.parameters);
  if (outputs.empty()) return {};
  ByLayer layers;
  int64_t elements = 0;
  for (size_t i = 0; i < outputs.size(); ++i) {
    Standardized layer = StandardizedBy(outputs[i], executor);
    layer.offset = elements;
    // Every matrix begins at a multiple of 16 elements, as parameters do.
    elements += (layer.channels * layer.channels + 15) / 16 * 16;
    layers[meter_.layers()[i].layer] = std::move(layer);
  }
  const Tensor products = executor.NewZeros({elements}, executor.types().gradients);
  step.watch_at(step.parameters, /*backward=*/false, [&](backend::Executor& of_replica) {
    return std::make_unique<ProductWatch>(layers, of_replica, products);
  });
  const Tensor all = products.OnHost().As(DType::kFloat64);
  NamedFigures figures;
  for (const nn::LayerOutput& output : meter_.layers()) {
    const Standardized& at = layers.at(output.layer);
    const double figure =
        MeanOffDiagonal(all.Span<double>().subspan(static_cast<size_t>(at.offset),
                                                   static_cast<size_t>(at.channels * at.channels)),
                        at.channels);
    figures[LayerFigure(name(), output.layer, kOffDiagonal)] = figure;
    if (output.activated) figures[LayerFigure(name(), output.layer, kActivated)] = figure;
  }
  return figures;
}

}  // namespace syncbn::train
