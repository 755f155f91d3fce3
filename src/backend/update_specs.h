// Descriptions of what a step changes: parameters by an optimizer, running statistics by moments, both only
// if the step is accepted.
#pragma once

#include <cstdint>
#include <vector>

#include "base/unknown_value.h"
#include "tensor/tensor.h"

namespace syncbn::backend {

// -- Acceptance -----------------------------------------------------------------------------------------

// What is looked at. All must be finite.
struct StepEvidence {
  Tensor squares;  // F64 [n]: sums of squares of the gradients
  Tensor loss;     // F64 [1]
  Tensor moments;  // F64, any shape
};
// F64 [3]: 1 if the step is accepted, else 0; the gradients' norm; the factor by which clipping scales them.
namespace verdict {
inline constexpr int64_t kAccepted = 0, kNorm = 1, kScale = 2, kElements = 3;
}

// -- Parameters -----------------------------------------------------------------------------------------

// With g the gradient times the verdict's scale and d the weight decay of its part:
//   kSgd    g += d w, or w -= rate d w if decoupled; v = momentum v + g; w -= rate v, or
//           w -= rate (g + momentum v) with nesterov (PyTorch's form: the rate is not in v)
//   kAdamW  Loshchilov and Hutter 2019, algorithm 2 (torch.optim.AdamW); decay is always decoupled
struct UpdateSpec {
  enum class Rule { kSgd, kAdamW };
  // A range of the flat tensors.
  struct Part {
    int64_t offset = 0;
    int64_t elements = 0;
    double weight_decay = 0;
    // kSgd on t (g + d w), t = trust_coefficient |w| / (|g| + d |w|), or 1 where |w| or |g| is 0 (LARS; You
    // et al. 2017); d counts as 0 in t and outside of t's reach if decoupled.
    bool trust = false;
  };

  Rule rule = Rule::kSgd;
  double momentum = 0;
  bool nesterov = false;
  bool decoupled = false;
  double trust_coefficient = 0;
  double beta1 = 0.9, beta2 = 0.999;
  double epsilon = 1e-8;
  std::vector<Part> parts;

  // Flat tensors of state: a velocity (none without momentum), or mean and square.
  size_t slots() const {
    switch (rule) {
      case Rule::kSgd: return momentum != 0 ? 1 : 0;
      case Rule::kAdamW: return 2;
    }
    ThrowUnknownValue("rule of an update", static_cast<int>(rule));
  }
};

struct UpdateInputs {
  double learning_rate = 0;
  Tensor gradients;  // flat
  // F64 [parts]: the sums of squares of the gradients of each part; where one of them has trust.
  Tensor squares;
  // Nothing moves unless the step was accepted.
  Tensor verdict;
};

// -- Running statistics ---------------------------------------------------------------------------------

struct RunningRule {
  enum class Kind { kMomentum, kCumulative, kNone };
  Kind kind = Kind::kMomentum;
  double momentum = 0.1;
};

// Where a norm's running statistics [mean[C], var[C], batches] and its moments [count, mean[C],
// m2[C]] begin in their flat tensors. For -C channels (merge.h): [mean[C], covariance[C, C],
// batches], and co-moments.
struct RunningBlock {
  int64_t channels = 0;
  int64_t running = 0;
  int64_t moments = 0;

  int64_t size() const { return channels < 0 ? -channels : channels; }
  // Of the running statistics.
  int64_t elements() const { return size() + (channels < 0 ? size() * size() : size()) + 1; }
};

}  // namespace syncbn::backend
