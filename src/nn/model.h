// A model: layers, and the layouts of what they learn and track. Immutable once built; shared by
// all replicas of a process.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/specs.h"
#include "nn/layer.h"
#include "nn/parameters.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::nn {

struct InputSpec {
  int64_t height = 0, width = 0, channels = 0;
  int64_t classes = 0;
};

// A layer that drops inputs at random.
struct DropoutSite {
  std::string layer;
  double probability = 0;
  Shape sample;  // of its input for one sample: [1, ...]
};

// A layer that adds noise.
struct NoiseSite {
  std::string layer;
  backend::NoiseSpec noise;  // but for the key
  Shape sample;              // of its input for one sample
};

// A normalization of a model: how it was asked for, and what it gets for each sample.
struct NormLayer {
  std::string name;
  v1::NormSpec spec;
  int64_t pixels = 1;  // height times width; 1 for features
  int64_t channels = 0;
  // The convolution or linear layer whose output alone it gets; none where something lies between.
  std::optional<std::string> behind = std::nullopt;
};

// What a layer gives.
struct LayerOutput {
  std::string layer;
  Shape sample;  // for one sample: [1, ...]
  // The function that the layer applies to each element, if it is that alone.
  std::optional<backend::ActivationKind> activation = std::nullopt;
  // Whether an activation function is what it is given to.
  bool activated = false;
};

class Model {
 public:
  Model(std::unique_ptr<Layer> body, ParameterLayout parameters,
        RunningStatisticsLayout running_statistics, RunningRule running_rule, InputSpec input);

  const ParameterLayout& parameters() const { return parameters_; }
  const RunningStatisticsLayout& running_statistics() const { return running_statistics_; }
  const RunningRule& running_rule() const { return running_rule_; }
  const InputSpec& input() const { return input_; }
  // All its layers.
  const Layer& body() const { return *body_; }

  // Images [n, H, W, C] -> logits [n, classes].
  Tensor Forward(Tensor images, StepContext& context) const;
  // d loss / d logits -> parameter gradients in the context; returns d loss / d images (undefined
  // if the context does not ask for it).
  Tensor Backward(Tensor dlogits, StepContext& context) const;

  // In forward order.
  const std::vector<DropoutSite>& dropouts() const { return dropouts_; }
  void set_dropouts(std::vector<DropoutSite> sites) { dropouts_ = std::move(sites); }

  const std::vector<NoiseSite>& noises() const { return noises_; }
  void set_noises(std::vector<NoiseSite> sites) { noises_ = std::move(sites); }

  // The groups of several replicas that share statistics in some layer, each once.
  const std::vector<comm::Group>& statistics_groups() const { return statistics_groups_; }
  void set_statistics_groups(std::vector<comm::Group> groups) {
    statistics_groups_ = std::move(groups);
  }
  // True when replicas need each other's statistics inside a pass: then all must be in flight at
  // once.
  bool statistics_cross_replicas() const { return !statistics_groups_.empty(); }

  // In the order of the layers.
  const std::vector<NormLayer>& norms() const { return norms_; }
  void set_norms(std::vector<NormLayer> norms) { norms_ = std::move(norms); }

  // Of all layers and residual sums, in the order in which they are computed. What was fused into
  // another layer (BuildOptions) is not among them, and that layer's output is then another.
  const std::vector<LayerOutput>& outputs() const { return outputs_; }
  void set_outputs(std::vector<LayerOutput> outputs) { outputs_ = std::move(outputs); }

 private:
  std::unique_ptr<Layer> body_;
  ParameterLayout parameters_;
  RunningStatisticsLayout running_statistics_;
  RunningRule running_rule_;
  InputSpec input_;
  std::vector<DropoutSite> dropouts_;
  std::vector<NoiseSite> noises_;
  std::vector<comm::Group> statistics_groups_;
  std::vector<NormLayer> norms_;
  std::vector<LayerOutput> outputs_;
};

struct BuildOptions {
  // Whether ReLU and the sum of a residual block are computed in the pass of the norm before them.
  // Off, every layer stands alone, for an observer that wants to see what lies between them.
  bool fuse = true;
  // Parameters that are not trained: see ParameterLayout::Freeze.
  std::vector<std::string> freeze = {};
};

// Builds a named architecture or hand-written layers. `cluster` decides how a normalization batch
// in samples maps to slices or groups of replicas. Throws INVALID_ARGUMENT naming the layer that
// does not fit, also where a whole batch would leave a norm with single numbers, or a mean over
// height and width with what an instance norm has made the same for every image.
std::unique_ptr<Model> BuildModel(const v1::ModelSpec& spec, const v1::ClusterSpec& cluster,
                                  const InputSpec& input, const BuildOptions& options = {});
// The model of a run, with what is frozen in it. Throws as the one before, and as
// ParameterLayout::Freeze.
std::unique_ptr<Model> BuildModelOf(const v1::RunSpec& run, const InputSpec& input,
                                    bool fuse = true);

}  // namespace syncbn::nn
