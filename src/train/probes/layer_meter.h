// Statistics of what layers give, over all samples of a step, of all replicas.
//
// Each replica takes the moments of its own samples on its device; they are merged in the canonical
// tree over replicas, so that the figures have the same bits in every process and at any number of
// them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nn/model.h"
#include "train/probe.h"

namespace syncbn::train {

struct OutputStatistics {
  // [count, mean[C], m2[C]]: of each channel, over samples and pixels. Count 0 where the layer was
  // not reached.
  std::vector<double> moments;
  // Of a layer that is an activation function, if asked for: the share of elements at which its
  // absolute derivative is at most 0.01; else NaN.
  double saturated = 0;
  // If asked for: the sum over all elements of the squares of d loss / d output, where the loss is
  // the mean over the SGD batch.
  double squared_gradient = 0;

  double count() const { return moments[0]; }
  std::span<const double> mean() const { return std::span(moments).subspan(1, channels()); }
  std::span<const double> m2() const { return std::span(moments).subspan(1 + channels()); }
  size_t channels() const { return moments.size() / 2; }
};

class LayerMeter {
 public:
  struct Options {
    bool saturation = false;
    // They need a backward pass.
    bool gradients = false;
  };

  // `layers`: of nn::Model::outputs().
  LayerMeter(std::vector<nn::LayerOutput> layers, const Options& options);

  const std::vector<nn::LayerOutput>& layers() const { return layers_; }

  // Collective: a pass of the step's batch at these parameters. For each of layers(), in order.
  std::vector<OutputStatistics> Measure(const ProbedStep& step, const nn::ParameterSet& at) const;

 private:
  class Watch;

  const std::vector<nn::LayerOutput> layers_;
  const Options options_;
  // Blocks of moments: of each layer's output, then of what is not saturated in each activation.
  std::vector<int64_t> channels_;
  std::vector<int64_t> offsets_;
  int64_t elements_ = 0;
  // By layer: the block of what is not saturated; -1: none.
  std::vector<int> unsaturated_;
  std::map<std::string, size_t, std::less<>> index_;
};

}  // namespace syncbn::train
