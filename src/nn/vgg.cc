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

// The three linear layers of the paper, behind torchvision's adaptive pool, whose windows are alike
// where height and width are a multiple of 7 (they do not overlap) or one more (by one pixel).
void AddLargeHead(Chain& chain, int64_t classes) {
  const int64_t height = chain.shape()[1], width = chain.shape()[2];
  if (height % kPooled > 1 || height != width) {
    throw Error(ErrorCode::kInvalidArgument,
                "VGG's linear layers take 7 x 7 features, and images of this size give " +
                    std::to_string(height) + " x " + std::to_string(width) +
                    ": they must be square, of a multiple of 224 pixels or up to 63 more (224 to "
                    "287, 448 to 511), or smaller than 224 (with one linear layer, behind the "
                    "mean)");
  }
  if (height > kPooled) {
    const int64_t stride = height / kPooled;
    chain.Pool("avgpool", {.kind = backend::PoolKind::kAverage,
                           .kernel = stride + height % kPooled,
                           .stride = stride});
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
