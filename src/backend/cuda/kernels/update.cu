#include "backend/cuda/kernels/update.h"

#include <cmath>
#include <vector>

#include "backend/cuda/kernels/each.h"
#include "backend/cuda/kernels/fours.h"
#include "backend/cuda/kernels/pieces.h"

namespace syncbn::backend::cuda::kernels {
namespace {

constexpr int kThreads = 256;
// Elements of a part that a block updates.
constexpr int64_t kUpdateBlock = 4096;
constexpr int64_t kFloat = sizeof(float);

struct Decay {
  double weight_decay;
  bool trust;
};

// What a rule needs of an UpdateSpec.
struct Rule {
  bool adamw = false;
  bool decoupled = false;
  double trust_coefficient = 0;
  double beta1 = 0, beta2 = 0;
};

// The factors of a part, by one thread, from double (UpdateSpec says what they are for):
//   trust = coefficient |w| / (scale |g| + d |w|), or 1; gradient_scale = trust scale; decay =
//   trust d
// One block of the launch's parts; behind them, in the last launch, updates += 1. Moved: 20 bytes
// for each part.
struct FactorsKernel {
  static constexpr bool kCooperative = true;
  Piece<Decay> parts;
  Rule rule;
  UpdateArguments a;
  int64_t first = 0;
  bool last = false;

  SYNCBN_DEVICE void operator()() const {
    const bool accepted = LoadCached(a.verdict + verdict::kAccepted) != 0;
    const double made = LoadCached(a.updates) + 1;
    if (Thread() < parts.count) {
      const Decay part = parts.entries[Thread()];
      const int64_t index = first + Thread();
      const double scale = LoadCached(a.verdict + verdict::kScale);
      const bool decoupled = rule.adamw || rule.decoupled;
      const double coupled = decoupled ? 0 : part.weight_decay;
      double trust = 1, decay = coupled, rate = a.learning_rate;
      if (part.trust && !rule.adamw) {
        const double weight = sqrt(LoadCached(a.weight_squares + index));
        const double gradient = scale * sqrt(LoadCached(a.gradient_squares + index));
        if (weight != 0 && gradient != 0) {
          trust = rule.trust_coefficient * weight / (gradient + coupled * weight);
        }
        decay = trust * coupled;
      }
      if (rule.adamw) {
        rate /= 1 - pow(rule.beta1, made);
        decay = 1 / sqrt(1 - pow(rule.beta2, made));
      }
      const double keep = decoupled ? 1 - a.learning_rate * part.weight_decay : 1;
      float* const to = a.factors + index * kPartFactors;
      Store(to, accepted ? 1.0F : 0.0F);
      Store(to + 1, static_cast<float>(trust * scale));
      Store(to + 2, static_cast<float>(keep));
      Store(to + 3, static_cast<float>(decay));
      Store(to + 4, static_cast<float>(rate));
    }
    Barrier();  // all have read `updates`
    if (last && Thread() == 0 && accepted) Store(a.updates, made);
  }
};

// What is done with one element: weight, gradient and what the optimizer keeps of it. Roundings are
// those written here, so that how parameters are cut into parts does not show.
template <bool kMomentum>
struct Sgd {
  static constexpr int kSlots = kMomentum ? 1 : 0;
  float momentum;
  bool nesterov;

  // g = scale dw + decay w;  v = momentum v + g;  w = keep w - rate (v, or g + momentum v)
  SYNCBN_DEVICE void operator()(const PartFactors& f, float gradient, float& w,
                                float* slots) const {
    const float g = fmaf(f.decay, w, f.gradient_scale * gradient);
    float step = g;
    if constexpr (kMomentum) {
      slots[0] = fmaf(momentum, slots[0], g);
      step = nesterov ? fmaf(momentum, slots[0], g) : slots[0];
    }
    w = fmaf(-f.rate, step, f.keep * w);
  }
};

struct AdamW {
  static constexpr int kSlots = 2;
  float beta1, rest1, beta2, rest2, epsilon;

  // m = beta1 m + (1 - beta1) g;  s = beta2 s + (1 - beta2) g^2;  w = keep w - rate m / (root_scale
  // sqrt(s) + epsilon)
  SYNCBN_DEVICE void operator()(const PartFactors& f, float gradient, float& w,
                                float* slots) const {
    const float g = f.gradient_scale * gradient;
    slots[0] = fmaf(beta1, slots[0], rest1 * g);
    slots[1] = fmaf(beta2, slots[1], rest2 * (g * g));
    w = fmaf(-f.rate, slots[0] / fmaf(f.decay, sqrtf(slots[1]), epsilon), f.keep * w);
  }
};

struct Range {
  int64_t offset;
  int64_t elements;
};

// Elements of all parts of a launch, four a thread at a time, 4096 a block. 16-byte accesses where
// all tensors are aligned at the part's offset. Where the step was not accepted what was loaded is
// stored: a step takes the same time and traffic whatever the verdict. Moved: gradients once;
// weights and slots there and back.
template <typename Element>
struct UpdateKernel {
  static constexpr bool kCooperative = false;
  Piece<Range> parts;
  Element element;
  const float* gradients;
  float* parameters;
  float* slots[2];
  const float* factors;  // of the launch's first part

  SYNCBN_DEVICE void operator()() const {
    constexpr int kSlots = Element::kSlots;
    const int index = parts.Find(Block());
    const Range part = parts.entries[index];
    const float* const from = factors + index * kPartFactors;
    const bool moves = LoadCached(from) != 0;
    const PartFactors f{.moves = 0,
                        .gradient_scale = LoadCached(from + 1),
                        .keep = LoadCached(from + 2),
                        .decay = LoadCached(from + 3),
                        .rate = LoadCached(from + 4)};
    const float* const g = gradients + part.offset;
    float* const w = parameters + part.offset;
    float* const first = kSlots > 0 ? slots[0] + part.offset : nullptr;
    float* const second = kSlots > 1 ? slots[1] + part.offset : nullptr;
    const bool aligned =
        IsAligned16(g) && IsAligned16(w) && IsAligned16(first) && IsAligned16(second);

    const int64_t begin = (Block() - parts.first[index]) * kUpdateBlock;
    const int64_t end = begin + kUpdateBlock < part.elements ? begin + kUpdateBlock : part.elements;
    for (int64_t i = begin + 4 * Thread(); i < end; i += 4 * kThreads) {
      const Vector<float, 4> gradient = LoadFour(g, i, end, aligned);
      Vector<float, 4> weight = LoadFour(w, i, end, aligned);
      Vector<float, 4> state[2];
      if constexpr (kSlots > 0) state[0] = LoadFour(first, i, end, aligned);
      if constexpr (kSlots > 1) state[1] = LoadFour(second, i, end, aligned);
      SYNCBN_UNROLL
      for (int k = 0; k < 4; ++k) {
        float moved = weight[k];
        float kept[2] = {};
        SYNCBN_UNROLL
        for (int s = 0; s < kSlots; ++s) kept[s] = state[s][k];
        element(f, gradient[k], moved, kept);
        if (moves) {
          weight[k] = moved;
          SYNCBN_UNROLL
          for (int s = 0; s < kSlots; ++s) state[s][k] = kept[s];
        }
      }
      StoreFour(w, i, end, aligned, weight);
      if constexpr (kSlots > 0) StoreFour(first, i, end, aligned, state[0]);
      if constexpr (kSlots > 1) StoreFour(second, i, end, aligned, state[1]);
    }
  }
};

template <typename Element>
void UpdateParts(cudaStream_t stream, std::span<const Range> ranges, const UpdateArguments& a,
                 const char* name, const Element& element) {
  const auto blocks_of = [](const Range& range) { return CeilDiv(range.elements, kUpdateBlock); };
  ForPieces(ranges, blocks_of, [&](const Piece<Range>& piece, int64_t blocks, int64_t first) {
    int64_t elements = 0;
    for (int i = 0; i < piece.count; ++i) elements += piece.entries[i].elements;
    Launch(stream,
           {.name = name,
            .blocks = blocks,
            .threads = kThreads,
            .bytes = elements * (3 + 2 * Element::kSlots) * kFloat},
           UpdateKernel<Element>{.parts = piece,
                                 .element = element,
                                 .gradients = a.gradients,
                                 .parameters = a.parameters,
                                 .slots = {a.slots[0], a.slots[1]},
                                 .factors = a.factors + first * kPartFactors});
  });
}

}  // namespace

void Update(cudaStream_t stream, const UpdateSpec& spec, const UpdateArguments& arguments) {
  const bool adamw = spec.rule == UpdateSpec::Rule::kAdamW;
  std::vector<Decay> decays;
  std::vector<Range> ranges;
  for (const UpdateSpec::Part& part : spec.parts) {
    decays.push_back({.weight_decay = part.weight_decay, .trust = part.trust});
    ranges.push_back({.offset = part.offset, .elements = part.elements});
  }
  // Without parts too: the update counts.
  if (decays.empty()) decays.push_back({}), ranges.push_back({});
  const Rule rule{.adamw = adamw,
                  .decoupled = spec.decoupled,
                  .trust_coefficient = spec.trust_coefficient,
                  .beta1 = spec.beta1,
                  .beta2 = spec.beta2};
  ForPieces(
      std::span<const Decay>(decays), [](const Decay&) { return int64_t{0}; },
      [&](const Piece<Decay>& piece, int64_t, int64_t first) {
        Launch(stream,
               {.name = "factors of an update",
                .blocks = 1,
                .threads = kPieceEntries,
                .bytes = piece.count * kPartFactors * kFloat},
               FactorsKernel{.parts = piece,
                             .rule = rule,
                             .a = arguments,
                             .first = first,
                             .last = first + piece.count == static_cast<int64_t>(decays.size())});
      });
  if (adamw) {
    UpdateParts(stream, ranges, arguments, "adamw",
                AdamW{.beta1 = static_cast<float>(spec.beta1),
                      .rest1 = static_cast<float>(1 - spec.beta1),
                      .beta2 = static_cast<float>(spec.beta2),
                      .rest2 = static_cast<float>(1 - spec.beta2),
                      .epsilon = static_cast<float>(spec.epsilon)});
  } else if (spec.momentum != 0) {
    UpdateParts(
        stream, ranges, arguments, "sgd with momentum",
        Sgd<true>{.momentum = static_cast<float>(spec.momentum), .nesterov = spec.nesterov});
  } else {
    UpdateParts(stream, ranges, arguments, "sgd", Sgd<false>{});
  }
}

}  // namespace syncbn::backend::cuda::kernels
