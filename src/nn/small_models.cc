#include <string>

#include "nn/architectures.h"

namespace syncbn::nn {
void AddLeNet(Chain& chain, int64_t classes) {
  const auto block = [&](const std::string& number, int64_t channels) {
    chain.Conv("conv" + number, {.out = channels, .kernel = 5}, chain.NormalizedWeight());
    chain.NormalizeAndActivate("bn" + number, "act" + number);
    chain.Pool("pool" + number, {});
  };
  block("1", 20);
  block("2", 50);
  chain.Flatten("flatten");
  if (chain.builder().spec().norm().kind() == v1::NORM_KIND_INSTANCE) {
    // Features have no height and width: an instance would be a single number.
    chain.Linear("fc1", 500, {});
    chain.Activate("act3");
  } else {
    chain.Linear("fc1", 500, chain.NormalizedWeight());
    chain.NormalizeAndActivate("bn3", "act3");
  }
  chain.DropLast();
  chain.Linear("fc2", classes, {});
}

void AddMlp(Chain& chain, const std::vector<int64_t>& hidden, int64_t classes) {
  chain.Flatten("flatten");
  int number = 0;
  for (int64_t features : hidden) {
    const std::string suffix = std::to_string(++number);
    chain.Linear("fc" + suffix, features, chain.NormalizedWeight());
    chain.NormalizeAndActivate("bn" + suffix, "act" + suffix);
  }
  chain.DropLast();
  chain.Linear("fc" + std::to_string(number + 1), classes, {});
}

void AddRecurrent(Chain& chain, bool lstm, int64_t classes) {
  chain.Recurrent(lstm ? "lstm" : "rnn", lstm, chain.builder().spec().recurrent());
  chain.DropLast();
  chain.Linear("fc", classes, {});
}

namespace {

// Convolution `number` of 3 x 3, normalized and activated.
void AddNumberedConv(Chain& chain, int number, int64_t channels) {
  const std::string suffix = std::to_string(number);
  chain.Conv("conv" + suffix, {.out = chain.builder().Scaled(channels), .padding = 1},
             chain.NormalizedWeight());
  chain.NormalizeAndActivate("bn" + suffix, "act" + suffix);
}

void AddNumberedPool(Chain& chain, int number) {
  if (chain.shape()[1] > 1 && chain.shape()[2] > 1) chain.Pool("pool" + std::to_string(number), {});
}

void AddSmallHead(Chain& chain, int64_t classes) {
  chain.GlobalAveragePool("avgpool");
  chain.DropLast();
  chain.Linear("fc", classes, {});
}

}  // namespace

void AddSmallCnn(Chain& chain, int64_t classes) {
  int number = 0;
  for (const int64_t channels : {16, 32, 64}) {
    AddNumberedConv(chain, ++number, channels);
    AddNumberedPool(chain, number);
  }
  AddSmallHead(chain, classes);
}

void AddSmallVgg(Chain& chain, int64_t classes) {
  int number = 0, stage = 0;
  for (const int64_t channels : {8, 16, 32}) {
    AddNumberedConv(chain, ++number, channels);
    AddNumberedConv(chain, ++number, channels);
    AddNumberedPool(chain, ++stage);
  }
  AddSmallHead(chain, classes);
}

}  // namespace syncbn::nn
