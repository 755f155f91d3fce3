#include <algorithm>
#include <string>

#include "base/error.h"
#include "config/norm_kind.h"
#include "nn/architectures.h"

namespace syncbn::nn {
namespace {

// Height and width to which torchvision's adaptive pool brings the features.
constexpr int64_t kPooled = 7;
constexpr int64_t kHidden = 4096;

// The three linear layers of the paper. Behind the mean over windows of the features that make them
// 7 x 7: none of 224 pixels, 2 x 2 of 448.
void AddLargeHead(Chain& chain, int64_t classes) {
  const int64_t height = chain.shape()[1], width = chain.shape()[2];
  if (height % kPooled != 0 || height != width) {
    throw Error(ErrorCode::kInvalidArgument,
                "VGG's linear layers take 7 x 7 features, and images of this size give " +
                    std::to_string(height) + " x " + std::to_string(width) +
                    ": they must be 224 x 224, or a multiple of it, or smaller (with one linear "
                    "layer, behind the mean)");
  }
  if (height > kPooled) {
    const int64_t window = height / kPooled;
    chain.Pool("avgpool",
               {.kind = backend::PoolKind::kAverage, .kernel = window, .stride = window});
  }
  chain.Flatten("flatten");
  const int64_t hidden = chain.builder().Scaled(kHidden);
  chain.Linear("classifier.0", hidden, {});
  chain.Activate("classifier.1");
  chain.DropLast("classifier.2");
  chain.Linear("classifier.3", hidden, {});
  chain.Activate("classifier.4");
  chain.DropLast("classifier.5");
  chain.Linear("classifier.6", classes, {});
}

void AddHead(Chain& chain, int64_t classes) {
  if (std::min(chain.shape()[1], chain.shape()[2]) >= kPooled) return AddLargeHead(chain, classes);
  chain.GlobalAveragePool("avgpool");
  chain.DropLast();
  chain.Linear("classifier", classes, {});
}

}  // namespace

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
  AddHead(chain, classes);
}

}  // namespace syncbn::nn
