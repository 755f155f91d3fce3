#include "nn/model.h"

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "nn/architectures.h"

namespace syncbn::nn {
namespace {

using Architecture = std::function<void(Chain& chain, int64_t classes)>;

// Every architecture by the name it has in the run file.
const std::map<std::string, Architecture, std::less<>>& Architectures() {
  using Stages = std::vector<std::vector<int64_t>>;
  using Blocks = std::vector<int64_t>;
  const auto vgg = [](Stages stages) -> Architecture {
    return [stages](Chain& chain, int64_t classes) { AddVgg(chain, stages, classes); };
  };
  const auto cifar = [](int64_t depth) -> Architecture {
    return [depth](Chain& chain, int64_t classes) { AddCifarResNet(chain, depth, classes); };
  };
  const auto resnet = [](BlockKind kind, Blocks blocks) -> Architecture {
    return [=](Chain& chain, int64_t classes) { AddResNet(chain, kind, blocks, classes); };
  };
  static const std::map<std::string, Architecture, std::less<>> table = {
      {"vgg11", vgg({{64}, {128}, {256, 256}, {512, 512}, {512, 512}})},
      {"vgg13", vgg({{64, 64}, {128, 128}, {256, 256}, {512, 512}, {512, 512}})},
      {"vgg16", vgg({{64, 64}, {128, 128}, {256, 256, 256}, {512, 512, 512}, {512, 512, 512}})},
      {"vgg19", vgg({{64, 64},
                     {128, 128},
                     {256, 256, 256, 256},
                     {512, 512, 512, 512},
                     {512, 512, 512, 512}})},
      {"resnet20", cifar(20)},
      {"resnet32", cifar(32)},
      {"resnet44", cifar(44)},
      {"resnet56", cifar(56)},
      {"resnet110", cifar(110)},
      {"resnet18", resnet(BlockKind::kBasic, {2, 2, 2, 2})},
      {"resnet34", resnet(BlockKind::kBasic, {3, 4, 6, 3})},
      {"resnet50", resnet(BlockKind::kBottleneck, {3, 4, 6, 3})},
      {"resnet101", resnet(BlockKind::kBottleneck, {3, 4, 23, 3})},
      {"resnet152", resnet(BlockKind::kBottleneck, {3, 8, 36, 3})},
      {"lenet", AddLeNet},
      {"rnn", [](Chain& chain, int64_t classes) { AddRecurrent(chain, false, classes); }},
      {"lstm", [](Chain& chain, int64_t classes) { AddRecurrent(chain, true, classes); }},
      {"cnn_small", AddSmallCnn},
      {"vgg_small", AddSmallVgg},
      {"inception_bn_small", AddSmallInception},
      {"mlp",
       [](Chain& chain, int64_t classes) {
         const auto& hidden = chain.builder().spec().hidden();
         AddMlp(chain, {hidden.begin(), hidden.end()}, classes);
       }},
  };
  return table;
}

const Architecture& FindArchitecture(const std::string& name) {
  const auto found = Architectures().find(name);
  if (found != Architectures().end()) return found->second;
  std::vector<std::string> names;
  for (const auto& entry : Architectures()) names.push_back(entry.first);
  const std::string_view near = NearestWord(name, names);
  throw Error(ErrorCode::kInvalidArgument,
              "there is no architecture \"" + name + "\"" +
                  (near.empty() ? "; there are " + Join(names, ", ")
                                : "; did you mean " + std::string(near) + "?"));
}

}  // namespace

Model::Model(std::unique_ptr<Layer> body, ParameterLayout parameters,
             RunningStatisticsLayout running_statistics, RunningRule running_rule, InputSpec input)
    : body_(std::move(body)),
      parameters_(std::move(parameters)),
      running_statistics_(std::move(running_statistics)),
      running_rule_(running_rule),
      input_(input) {}

Tensor Model::Forward(Tensor images, StepContext& context) const {
  const Shape& shape = images.shape();
  if (shape.rank() != 4 || shape != Shape{shape[0], input_.height, input_.width, input_.channels}) {
    throw Error(ErrorCode::kInvalidArgument,
                "the model takes images of " + std::to_string(input_.height) + " x " +
                    std::to_string(input_.width) + " x " + std::to_string(input_.channels) +
                    ", got " + shape.ToString());
  }
  return RunForward(*body_, std::move(images), context);
}

Tensor Model::Backward(Tensor dlogits, StepContext& context) const {
  Tensor dx = RunBackward(*body_, std::move(dlogits), context);
  context.RunDeferred();
  return dx;
}

std::unique_ptr<Model> BuildModel(const v1::ModelSpec& spec, const v1::ClusterSpec& cluster,
                                  const InputSpec& input, const BuildOptions& options) {
  ModelBuilder builder(spec, cluster, options);
  Chain chain(builder, {1, input.height, input.width, input.channels}, /*sees_images=*/true);
  if (spec.layers().empty()) {
    FindArchitecture(spec.architecture())(chain, input.classes);
  } else {
    AddLayersByHand(chain);
  }
  const Shape logits{1, input.classes};
  if (chain.shape() != logits) {
    throw Error(ErrorCode::kInvalidArgument, "the last layer gives " + chain.shape().ToString() +
                                                 " for one sample; it must give " +
                                                 logits.ToString() + ", one number for each class");
  }
  std::unique_ptr<Layer> body = chain.Finish("");
  return builder.Finish(std::move(body), input);
}

std::unique_ptr<Model> BuildModelOf(const v1::RunSpec& run, const InputSpec& input, bool fuse) {
  const auto& freeze = run.train().freeze();
  return BuildModel(run.model(), run.cluster(), input,
                    {.fuse = fuse, .freeze = {freeze.begin(), freeze.end()}});
}

}  // namespace syncbn::nn
