// What the architectures are written with: chains of layers through which the shape of the
// activations flows, and which declare parameters and running statistics on the way.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "nn/batch_norm.h"
#include "nn/composite.h"
#include "nn/model.h"
#include "nn/parameters.h"
#include "nn/statistics_scope.h"

namespace syncbn::nn {

// What all chains of one model share.
class ModelBuilder {
 public:
  // The specs must outlive the builder.
  ModelBuilder(const v1::ModelSpec& spec, const v1::ClusterSpec& cluster,
               const BuildOptions& options);

  const v1::ModelSpec& spec() const { return spec_; }
  bool fuse() const { return options_.fuse; }
  // `channels` times the model's width factor, at least 1.
  int64_t Scaled(int64_t channels) const;

  // Throws INVALID_ARGUMENT when the name is taken.
  void Claim(const std::string& layer);
  // The distribution of a weight; he_fan: the fan that He's rule takes.
  Initializer WeightInitializer(int64_t fan_in, int64_t fan_out, int64_t he_fan) const;
  int Declare(std::string name, Shape shape, ParameterRole role, Initializer initializer);
  int Declare(Parameter parameter) { return parameters_.Add(std::move(parameter)); }
  // For activations of this shape. Throws INVALID_ARGUMENT when a whole batch of the cluster leaves
  // some statistics of a batch norm with a single number.
  std::unique_ptr<Norm> MakeNorm(const std::string& name, const v1::NormSpec& spec,
                                 const Shape& input, double initial_gamma);
  // The statistics of a batch norm whose samples have `pixels` numbers a channel, and the same
  // refusals; with steps, of each time step apart, as "name.0", "name.1" and so on.
  BatchNorm::BatchOptions BatchStatistics(const std::string& name, const v1::NormSpec& spec,
                                          int64_t channels, int64_t pixels,
                                          std::optional<int64_t> steps = std::nullopt);
  // Adds to the norms that the model tells of; MakeNorm does by itself.
  void AddNorm(NormLayer norm) { norms_.push_back(std::move(norm)); }
  // See config::NormalizesChannelsAlone.
  bool NormalizesChannelsAlone(const v1::NormSpec& spec, int64_t channels) const;

  void AddDropout(DropoutSite site) { dropouts_.push_back(std::move(site)); }
  void AddOutput(LayerOutput output) { outputs_.push_back(std::move(output)); }
  // What this layer gives is given to an activation function.
  void MarkActivated(const std::string& layer);
  // The norm that was made last gets the output of this layer alone.
  void PutLastNormBehind(std::string layer) { norms_.back().behind = std::move(layer); }
  void AddNoise(NoiseSite site) { noises_.push_back(std::move(site)); }

  // Takes the layers; the builder is used up.
  std::unique_ptr<Model> Finish(std::unique_ptr<Layer> body, const InputSpec& input);

 private:
  // The kinds whose statistics are of several samples.
  std::unique_ptr<Norm> MakeBatchNorm(const std::string& name, const v1::NormSpec& spec,
                                      const Shape& input, const Norm::Options& options);
  // The samples that share statistics, and the refusals of BatchStatistics.
  StatisticsScope ScopeOf(const std::string& name, const v1::NormSpec& spec, int64_t channels,
                          int64_t pixels);
  // Whether the layer keeps running statistics. Throws when another layer does by another rule.
  bool AdoptRunningRule(const std::string& name, const v1::RunningSpec& spec);
  // Whether the statistics of a layer that keeps some stay as they are.
  bool IsFrozen(const std::string& name, const v1::RunningSpec& spec);

  const v1::ModelSpec& spec_;
  const v1::ClusterSpec& cluster_;
  const BuildOptions options_;
  ParameterLayout parameters_;
  RunningStatisticsLayout running_statistics_;
  std::set<std::string> names_;
  std::vector<DropoutSite> dropouts_;
  std::vector<NoiseSite> noises_;
  std::optional<RunningRule> running_rule_;
  // Replicas of each statistics group, where they are several.
  std::set<int> group_sizes_;
  std::vector<NormLayer> norms_;
  std::vector<LayerOutput> outputs_;
  // Patterns of frozen statistics, and whether some norm fits; and the names that were looked at.
  std::map<std::string, bool> frozen_;
  std::vector<std::string> tracked_;
};

struct WeightOptions {
  bool bias = true;
  bool weight_norm = false;
  // See Parameter::drawn_as: the layer's name there.
  std::optional<std::string> drawn_as = std::nullopt;
};

struct ConvOptions {
  int64_t out = 0;
  int64_t kernel = 3, stride = 1, padding = 0, groups = 1;
};

// Layers in order. Every method appends one, under its full name ("layer1.0.conv1").
class Chain {
 public:
  Chain(ModelBuilder& builder, const Shape& input, bool sees_images = false)
      : builder_(&builder), shape_(input), sees_images_(sees_images) {}

  ModelBuilder& builder() const { return *builder_; }
  // Of the activations after the last layer, for one sample.
  const Shape& shape() const { return shape_; }

  void Conv(const std::string& name, const ConvOptions& conv, const WeightOptions& weight);
  void Linear(const std::string& name, int64_t out, const WeightOptions& weight);
  // Nothing for the kinds that are no layer (none, weight). zero_gamma: its scale starts at 0, else
  // as the spec says. Noise, where the spec has some, is a layer of its own behind it, NAME.noise.
  void Normalize(const std::string& name, const v1::NormSpec& spec, bool zero_gamma = false);
  void Activate(const std::string& name, backend::ActivationKind kind);
  void Pool(const std::string& name, const backend::Pool2dSpec& spec);
  void GlobalAveragePool(const std::string& name);
  void Flatten(const std::string& name);
  void Dropout(const std::string& name, double probability);
  // An rnn, or an lstm, with the model's norm within.
  void Recurrent(const std::string& name, bool lstm, const v1::RecurrentSpec& spec);
  // body and shortcut start from this chain's shape.
  void Residual(const std::string& name, Chain body, Chain shortcut);
  // So do the branches.
  void Concat(const std::string& name, std::vector<Chain> branches);

  // -- With the model's own settings ------------------------------------------------------------

  // The weight of a layer that a norm follows: without a bias where the norm would cancel it.
  WeightOptions NormalizedWeight() const;
  // The norm and the activation, in the order of the norm's placement, and dropout between them and
  // what is around, NORM.dropout or ACTIVATION.dropout, where the model has it there.
  void NormalizeAndActivate(const std::string& norm, const std::string& activation);
  void Activate(const std::string& name);
  // Dropout before the last linear layers, where the model has it there.
  void DropLast(const std::string& name = "dropout");

  std::unique_ptr<Sequential> Finish(const std::string& name);

 private:
  // `activation`: see LayerOutput.
  void Append(std::unique_ptr<Layer> layer,
              std::optional<backend::ActivationKind> activation = std::nullopt);
  void DropAt(v1::DropoutPlace place, const std::string& name);
  // Behind a layer that keeps the mean of a channel over height and width what a norm made of it.
  // Throws INVALID_ARGUMENT where one number is left of them: it is the same for every image.
  void StayCentered(const std::string& name);

  ModelBuilder* builder_;
  Shape shape_;
  // The next layer's input is the images, perhaps flattened.
  bool sees_images_;
  std::vector<std::unique_ptr<Layer>> layers_;
  // The mean of each sample's channel over height and width does not depend on the image.
  bool centered_ = false;
  // The convolution or linear layer in whose output the chain ends; empty: another one.
  std::string weighted_;
  // The norm whose output the chain ends in, if ReLU may still become a part of it.
  Norm* open_norm_ = nullptr;
};

}  // namespace syncbn::nn
