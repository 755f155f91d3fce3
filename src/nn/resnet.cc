#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/unknown_value.h"
#include "config/norm_kind.h"
#include "nn/architectures.h"

namespace syncbn::nn {
namespace {

bool NormAfterActivation(const ModelBuilder& builder) {
  return config::IsAfterActivation(builder.spec().norm().placement());
}

// Whether the scale of the last norm of a block starts at 0.
bool LastGammaIsZero(const ModelBuilder& builder) {
  if (!builder.spec().init().zero_last_gamma()) return false;
  const v1::NormSpec& norm = builder.spec().norm();
  if (config::IsNormLayer(norm.kind()) && !NormAfterActivation(builder) &&
      (!norm.has_affine() || norm.affine()))
    return true;
  throw Error(
      ErrorCode::kInvalidArgument,
      "init.zero_last_gamma needs a norm with a learned scale before the activation: it starts "
      "the last scale of every residual block at 0");
}

struct BlockOptions {
  BlockKind kind = BlockKind::kBasic;
  int64_t planes = 0;
  int64_t stride = 1;
};

bool IsBasic(BlockKind kind) {
  switch (kind) {
    case BlockKind::kBasic: return true;
    case BlockKind::kBottleneck: return false;
  }
  ThrowUnknownValue("kind of a residual block", static_cast<int>(kind));
}

// With the norm after the activation the sum is activated and then normalized: of every pair of
// norm and activation the order is reversed, and nothing else changes.
void AddBlock(Chain& chain, const std::string& name, const BlockOptions& options) {
  const ModelBuilder& builder = chain.builder();
  const v1::NormSpec& norm = builder.spec().norm();
  const bool after = NormAfterActivation(builder);
  const bool basic = IsBasic(options.kind);
  const int64_t out = basic ? options.planes : 4 * options.planes;

  Chain body(chain.builder(), chain.shape());
  const WeightOptions weight = chain.NormalizedWeight();
  if (basic) {
    body.Conv(name + ".conv1", {.out = options.planes, .stride = options.stride, .padding = 1},
              weight);
    body.NormalizeAndActivate(name + ".bn1", name + ".relu1");
    body.Conv(name + ".conv2", {.out = out, .padding = 1}, weight);
  } else {
    body.Conv(name + ".conv1", {.out = options.planes, .kernel = 1}, weight);
    body.NormalizeAndActivate(name + ".bn1", name + ".relu1");
    body.Conv(name + ".conv2", {.out = options.planes, .stride = options.stride, .padding = 1},
              weight);
    body.NormalizeAndActivate(name + ".bn2", name + ".relu2");
    body.Conv(name + ".conv3", {.out = out, .kernel = 1}, weight);
  }
  const std::string last = name + (basic ? ".bn2" : ".bn3");
  if (!after) body.Normalize(last, norm, LastGammaIsZero(builder));

  Chain shortcut(chain.builder(), chain.shape());
  if (options.stride != 1 || chain.shape().channels() != out) {
    // The norm stands directly behind it wherever the others stand, and would cancel a bias.
    WeightOptions projection = weight;
    if (config::IsNormLayer(norm.kind())) projection.bias = false;
    shortcut.Conv(name + ".downsample.0", {.out = out, .kernel = 1, .stride = options.stride},
                  projection);
    shortcut.Normalize(name + ".downsample.1", norm);
  }
  chain.Residual(name, std::move(body), std::move(shortcut));
  chain.Activate(name + ".relu");
  if (after) chain.Normalize(last, norm, LastGammaIsZero(builder));
}

// Stages of blocks, each but the first beginning with stride 2; then the head.
void AddStages(Chain& chain, BlockKind kind, int64_t planes, const std::vector<int64_t>& blocks,
               int64_t classes) {
  const ModelBuilder& builder = chain.builder();
  for (size_t stage = 0; stage < blocks.size(); ++stage) {
    for (int64_t block = 0; block < blocks[stage]; ++block) {
      AddBlock(chain, "layer" + std::to_string(stage + 1) + "." + std::to_string(block),
               {.kind = kind,
                .planes = builder.Scaled(planes << stage),
                .stride = stage > 0 && block == 0 ? 2 : 1});
    }
  }
  chain.GlobalAveragePool("avgpool");
  chain.DropLast();
  chain.Linear("fc", classes, {});
}

}  // namespace

void AddCifarResNet(Chain& chain, int64_t depth, int64_t classes) {
  chain.Conv("conv1", {.out = chain.builder().Scaled(16), .padding = 1}, chain.NormalizedWeight());
  chain.NormalizeAndActivate("bn1", "relu");
  const int64_t blocks = (depth - 2) / 6;
  AddStages(chain, BlockKind::kBasic, 16, {blocks, blocks, blocks}, classes);
}

void AddResNet(Chain& chain, BlockKind kind, const std::vector<int64_t>& blocks, int64_t classes) {
  const int64_t channels = chain.builder().Scaled(64);
  const bool large = std::min(chain.shape()[1], chain.shape()[2]) >= 64;
  if (large) {
    chain.Conv("conv1", {.out = channels, .kernel = 7, .stride = 2, .padding = 3},
               chain.NormalizedWeight());
  } else {
    chain.Conv("conv1", {.out = channels, .padding = 1}, chain.NormalizedWeight());
  }
  chain.NormalizeAndActivate("bn1", "relu");
  if (large) chain.Pool("maxpool", {.kernel = 3, .stride = 2, .pad = 1});
  AddStages(chain, kind, 64, blocks, classes);
}

}  // namespace syncbn::nn
