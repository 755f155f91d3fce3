#include <string>

#include "config/norm_kind.h"
#include "nn/architectures.h"

namespace syncbn::nn {

void AddVgg(Chain& chain, const std::vector<std::vector<int64_t>>& stages, int64_t classes) {
  const ModelBuilder& builder = chain.builder();
  const v1::NormSpec& norm = builder.spec().norm();
  const bool has_norm = config::IsNormLayer(norm.kind());
  const bool after = config::IsAfterActivation(norm.placement());
  const auto feature = [](int number) { return "features." + std::to_string(number); };
  int number = 0, conv = 0;
  for (const std::vector<int64_t>& stage : stages) {
    for (int64_t channels : stage) {
      WeightOptions weight = chain.NormalizedWeight();
      // The numbers differ with and without a norm; the initial weights must not.
      weight.drawn_as = "features.conv" + std::to_string(++conv);
      chain.Conv(feature(number), {.out = builder.Scaled(channels), .padding = 1}, weight);
      const int second = number + 1, third = number + 2;
      if (has_norm) {
        chain.NormalizeAndActivate(feature(after ? third : second),
                                   feature(after ? second : third));
        number += 3;
      } else {
        chain.Activate(feature(second));
        number += 2;
      }
    }
    if (chain.shape()[1] > 1 && chain.shape()[2] > 1) chain.Pool(feature(number), {});
    ++number;
  }
  chain.GlobalAveragePool("avgpool");
  chain.DropLast();
  chain.Linear("classifier", classes, {});
}

}  // namespace syncbn::nn
