#include <string>

#include "nn/architectures.h"

namespace syncbn::nn {
namespace {

void AddDropout(Chain& chain) {
  const double probability = chain.builder().spec().dropout();
  if (probability > 0) chain.Dropout("dropout", probability);
}

}  // namespace

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
  AddDropout(chain);
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
  AddDropout(chain);
  chain.Linear("fc" + std::to_string(number + 1), classes, {});
}

void AddRecurrent(Chain& chain, bool lstm, int64_t classes) {
  chain.Recurrent(lstm ? "lstm" : "rnn", lstm, chain.builder().spec().recurrent());
  AddDropout(chain);
  chain.Linear("fc", classes, {});
}

}  // namespace syncbn::nn
