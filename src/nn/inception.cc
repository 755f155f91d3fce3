#include <string>
#include <utility>
#include <vector>

#include "nn/architectures.h"

namespace syncbn::nn {
namespace {

// Output channels of a block's branches, and of the 1 x 1 convolutions before its larger ones.
struct InceptionChannels {
  int64_t single;
  int64_t reduce, middle;
  int64_t double_reduce, twice;
  int64_t pooled;
};

// A convolution that keeps the sides, normalized and activated: NAME.conv, NAME.bn, NAME.act.
void AddBasicConv(Chain& chain, const std::string& name, int64_t channels, int64_t kernel) {
  chain.Conv(name + ".conv",
             {.out = chain.builder().Scaled(channels), .kernel = kernel, .padding = kernel / 2},
             chain.NormalizedWeight());
  chain.NormalizeAndActivate(name + ".bn", name + ".act");
}

void AddBlock(Chain& chain, const std::string& name, const InceptionChannels& channels) {
  std::vector<Chain> branches;
  const auto begin = [&]() -> Chain& {
    return branches.emplace_back(chain.builder(), chain.shape());
  };
  AddBasicConv(begin(), name + ".branch1", channels.single, 1);
  Chain& second = begin();
  AddBasicConv(second, name + ".branch2.0", channels.reduce, 1);
  AddBasicConv(second, name + ".branch2.1", channels.middle, 3);
  Chain& third = begin();
  AddBasicConv(third, name + ".branch3.0", channels.double_reduce, 1);
  AddBasicConv(third, name + ".branch3.1", channels.twice, 3);
  AddBasicConv(third, name + ".branch3.2", channels.twice, 3);
  Chain& fourth = begin();
  fourth.Pool(name + ".branch4.0",
              {.kind = backend::PoolKind::kAverage, .kernel = 3, .stride = 1, .pad = 1});
  AddBasicConv(fourth, name + ".branch4.1", channels.pooled, 1);
  chain.Concat(name, std::move(branches));
}

}  // namespace

void AddSmallInception(Chain& chain, int64_t classes) {
  const auto pool = [&](const std::string& name) {
    if (chain.shape()[1] > 1 && chain.shape()[2] > 1) {
      chain.Pool(name, {.kernel = 3, .stride = 2, .pad = 1});
    }
  };
  AddBasicConv(chain, "stem", 16, 3);
  pool("maxpool1");
  AddBlock(chain, "inception1", {8, 8, 12, 8, 12, 8});
  pool("maxpool2");
  AddBlock(chain, "inception2", {16, 16, 24, 16, 24, 16});
  AddBlock(chain, "inception3", {16, 16, 24, 16, 24, 16});
  AddBlock(chain, "inception4", {24, 24, 32, 24, 32, 24});
  chain.GlobalAveragePool("avgpool");
  chain.DropLast();
  chain.Linear("fc", classes, {});
}

}  // namespace syncbn::nn
