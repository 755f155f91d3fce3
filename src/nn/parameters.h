// Names, shapes and places of a model's parameters and of its running statistics.
//
// All parameters lie in one flat tensor of the back end's type, in order of declaration, each start
// padded to 16 elements with zeros; gradients and optimizer state have the same layout. Names are
// torchvision's ("layer1.0.bn1.weight").
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/executor.h"
#include "tensor/tensor.h"

namespace syncbn::nn {

enum class ParameterRole { kWeight, kBias, kNormScale, kNormShift, kWeightNormGain };

struct Initializer {
  enum class Kind { kConstant, kNormal, kUniform };
  Kind kind = Kind::kConstant;
  // The constant, the standard deviation, or the bound a of U(-a, a).
  double value = 0;
};

struct Parameter {
  std::string name;
  Shape shape;
  ParameterRole role = ParameterRole::kWeight;
  Initializer initializer;
  // First element in the flat tensor.
  int64_t offset = 0;
  // For kWeightNormGain: the index of v, whose norms are the initial gain; else -1.
  int norm_of = -1;
  // Else it stays as it is (train.freeze): its gradient is 0, and no optimizer moves it.
  bool trained = true;
  // The name its values are drawn from, where that is not its own: a layer that has another name in
  // another arm of a study (weight_v for weight; VGG's numbering without norms) starts from the
  // same values there.
  std::optional<std::string> drawn_as = std::nullopt;
};

class ParameterLayout {
 public:
  // Returns the index. Throws INVALID_ARGUMENT when the name is taken.
  int Add(Parameter parameter);

  std::span<const Parameter> parameters() const { return parameters_; }
  const Parameter& operator[](int index) const {
    return parameters_.at(static_cast<size_t>(index));
  }
  int size() const { return static_cast<int>(parameters_.size()); }
  // Length of the flat tensor, padding included.
  int64_t flat_elements() const { return flat_elements_; }
  // Sum of the parameters' elements, without padding.
  int64_t elements() const;
  // The view of parameter `index` in a flat tensor.
  Tensor View(const Tensor& flat, int index) const;
  // -1 when there is none.
  int Find(std::string_view name) const;
  // From here on what fits these patterns (base/pattern.h) is not trained. Throws INVALID_ARGUMENT
  // when one of them fits no parameter, or nothing is left to be trained.
  void Freeze(std::span<const std::string> patterns);

 private:
  std::vector<Parameter> parameters_;
  int64_t flat_elements_ = 0;
};

// Initial values drawn from (seed, parameter name): the same whatever else the model has. On the host.
Tensor InitialParameters(const ParameterLayout& layout, uint64_t seed, DType dtype);

// One norm over the batch with running statistics or whose moments are logged.
struct NormStatistics {
  std::string name;  // of the layer: "layer1.0.bn1"
  int64_t channels = 0;
  // First element of [running_mean[C], running_var[C], num_batches_tracked] in the flat F64 running
  // statistics.
  int64_t offset = 0;
  // First element of [count, mean[C], m2[C]] in the flat F64 moments of a step.
  int64_t moments_offset = 0;
  bool tracked = true;
  // One block; of an iterative norm one for each group of channels, with covariances and co-moments
  // (see backend::RunningBlock and merge.h), from the same first elements on.
  std::vector<backend::RunningBlock> blocks = {};

  bool correlated() const { return blocks.front().channels < 0; }
  int64_t running_elements() const;
  int64_t moments_elements() const;
  // What the names of a block's running statistics begin with: the layer's name, or NAME.groups.K
  // where there are several.
  std::string BlockName(size_t block) const;
  // [count, mean[C], m2[C]] of a step's moments, whatever else these hold.
  std::vector<double> ChannelMoments(std::span<const double> moments) const;
  // [mean[C], variance[C]] of the running statistics, whatever else these hold.
  std::vector<double> ChannelRunning(std::span<const double> running) const;
};

class RunningStatisticsLayout {
 public:
  // group: of an iterative norm, the channels that are whitened together; else 0.
  int Add(std::string name, int64_t channels, bool tracked, int64_t group = 0);
  std::span<const NormStatistics> norms() const { return norms_; }
  const NormStatistics& operator[](int index) const {
    return norms_.at(static_cast<size_t>(index));
  }
  int size() const { return static_cast<int>(norms_.size()); }
  int64_t flat_elements() const { return flat_elements_; }
  int64_t moments_elements() const { return moments_elements_; }
  // Of all blocks in order, as kMergeMoments takes them.
  std::span<const int64_t> channels() const { return channels_; }
  // Those of the tracked norms.
  std::span<const backend::RunningBlock> running_blocks() const { return running_blocks_; }

 private:
  std::vector<NormStatistics> norms_;
  std::vector<int64_t> channels_;
  std::vector<backend::RunningBlock> running_blocks_;
  int64_t flat_elements_ = 0;
  int64_t moments_elements_ = 0;
};

// Running mean 0, variance 1 without covariances, no batches. On the host.
Tensor InitialRunningStatistics(const RunningStatisticsLayout& layout);

using RunningRule = backend::RunningRule;

// The running statistics after a step whose merged moments are `moments` (PyTorch's SyncBatchNorm
// with one group); as it was if the verdict is defined and says that the step is not accepted. A
// pure function of the executor's device.
Tensor UpdatedRunningStatistics(backend::Executor& executor, const RunningStatisticsLayout& layout,
                                const RunningRule& rule, const Tensor& running,
                                const Tensor& moments, const Tensor& verdict = Tensor());

}  // namespace syncbn::nn
