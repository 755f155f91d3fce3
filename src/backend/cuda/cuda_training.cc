#include <algorithm>
#include <numeric>
#include <vector>

#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/kernels/loss.h"
#include "backend/cuda/kernels/step.h"
#include "backend/cuda/kernels/update.h"

namespace syncbn::backend::cuda {

LossResult CudaExecutor::SoftmaxCrossEntropy(const Tensor& logits, const Tensor& labels,
                                             double label_smoothing, double scale,
                                             bool want_gradient) {
  SYNCBN_CHECK_EQ(logits.shape().rank(), 2) << "logits of a loss";
  const int64_t samples = logits.shape()[0], classes = logits.shape()[1];
  SYNCBN_CHECK_EQ(labels.elements(), samples) << "labels of a loss";
  SYNCBN_CHECK_GT(classes, 0) << "classes of a loss";
  LossResult result{.losses = New({samples}, DType::kFloat64),
                    .correct = New({samples}, DType::kFloat64),
                    .dlogits = {}};
  if (want_gradient) result.dlogits = NewLike(logits);
  ForElements(logits, [&](auto element) {
    using T = decltype(element);
    const kernels::LossArguments<T> arguments{.logits = In<T>(logits),
                                              .labels = In<int32_t>(labels),
                                              .smoothing = label_smoothing,
                                              .scale = scale,
                                              .losses = Out<double>(result.losses),
                                              .correct = Out<double>(result.correct),
                                              .dlogits = Out<T>(result.dlogits),
                                              .samples = samples,
                                              .classes = classes};
    Run("softmax cross-entropy",
        [&](cudaStream_t stream) { kernels::SoftmaxCrossEntropy(stream, arguments); });
  });
  return result;
}

void CudaExecutor::AddSum(const Tensor& values, Tensor& total) {
  SYNCBN_CHECK_EQ(total.elements(), 1) << "total of a sum";
  const double* const from = In<double>(values);
  double* const to = Out<double>(total);
  Run("add sum",
      [&](cudaStream_t stream) { kernels::AddSum(stream, from, values.elements(), to); });
}

void CudaExecutor::SumsOfSquares(std::span<const Tensor> tensors, Tensor& sums) {
  SYNCBN_CHECK_EQ(static_cast<int64_t>(tensors.size()), sums.elements()) << "sums of squares";
  std::vector<kernels::SquaresOf> of;
  of.reserve(tensors.size());
  // Of activations, which only probes look at, by way of a copy.
  std::vector<Tensor> floats;
  for (const Tensor& x : tensors) {
    floats.push_back(Convert(x, DType::kFloat32));
    of.push_back({.x = In<float>(floats.back()), .elements = x.elements()});
  }
  Tensor scratch = New({kernels::SumsOfSquaresScratch(of)}, DType::kFloat64);
  double* const between = Out<double>(scratch);
  double* const to = Out<double>(sums);
  Run("sums of squares",
      [&](cudaStream_t stream) { kernels::SumsOfSquares(stream, of, between, to); });
}

void CudaExecutor::JudgeStep(const StepEvidence& evidence, double clip_norm, Tensor& verdict) {
  SYNCBN_CHECK_EQ(verdict.elements(), verdict::kElements) << "verdict";
  SYNCBN_CHECK_EQ(evidence.loss.elements(), 1) << "loss of a step";
  const kernels::JudgeArguments arguments{.squares = In<double>(evidence.squares),
                                          .tensors = evidence.squares.elements(),
                                          .loss = In<double>(evidence.loss),
                                          .moments = In<double>(evidence.moments),
                                          .moments_elements = evidence.moments.elements(),
                                          .clip_norm = clip_norm,
                                          .verdict = Out<double>(verdict)};
  Run("judge step", [&](cudaStream_t stream) { kernels::JudgeStep(stream, arguments); });
}

void CudaExecutor::Update(const UpdateSpec& spec, const UpdateInputs& inputs, Tensor& parameters,
                          std::span<Tensor> slots, Tensor& updates) {
  SYNCBN_CHECK_EQ(slots.size(), spec.slots()) << "state of an optimizer";
  SYNCBN_CHECK_EQ(inputs.gradients.elements(), parameters.elements()) << "gradient of an update";
  for (const Tensor& slot : slots) {
    SYNCBN_CHECK_EQ(slot.elements(), parameters.elements()) << "state of an optimizer";
  }
  const auto count = static_cast<int64_t>(spec.parts.size());
  bool trust = false;
  for (const UpdateSpec::Part& part : spec.parts) {
    SYNCBN_CHECK(part.offset >= 0 && part.elements >= 0 &&
                 part.offset + part.elements <= parameters.elements())
        << "part [" << part.offset << ", " << part.offset + part.elements << ") of "
        << parameters.elements() << " parameters";
    trust = trust || part.trust;
  }
  Tensor weight_squares;
  if (trust && spec.rule == UpdateSpec::Rule::kSgd) {
    SYNCBN_CHECK_EQ(inputs.squares.elements(), count) << "squares of an update's parts";
    std::vector<Tensor> weights;
    for (const UpdateSpec::Part& part : spec.parts) {
      weights.push_back(parameters.Slice(part.offset, {part.trust ? part.elements : 0}));
    }
    weight_squares = New({count}, DType::kFloat64);
    SumsOfSquares(weights, weight_squares);
  }
  // A part for an update without any.
  Tensor factors = New({std::max<int64_t>(count, 1) * kernels::kPartFactors}, DType::kFloat32);
  kernels::UpdateArguments arguments{.learning_rate = inputs.learning_rate,
                                     .verdict = In<double>(inputs.verdict),
                                     .gradient_squares = In<double>(inputs.squares),
                                     .weight_squares = In<double>(weight_squares),
                                     .gradients = In<float>(inputs.gradients),
                                     .parameters = Out<float>(parameters),
                                     .updates = Out<double>(updates),
                                     .factors = Out<float>(factors)};
  for (size_t i = 0; i < slots.size(); ++i) arguments.slots[i] = Out<float>(slots[i]);
  Run("update", [&](cudaStream_t stream) { kernels::Update(stream, spec, arguments); });
}

Tensor CudaExecutor::UpdateRunning(const RunningRule& rule, std::span<const RunningBlock> blocks,
                                   const Tensor& running, const Tensor& moments,
                                   const Tensor& verdict) {
  Tensor updated = New(running.shape(), DType::kFloat64);
  const int64_t covered = std::accumulate(
      blocks.begin(), blocks.end(), int64_t{0},
      [](int64_t sum, const RunningBlock& block) { return sum + block.elements(); });
  const bool nothing_moves = rule.kind == RunningRule::Kind::kNone;
  // The blocks write all that is theirs.
  if (nothing_moves || covered != running.elements()) Copy(running, updated);
  if (nothing_moves) return updated;
  const kernels::RunningArguments arguments{.rule = rule,
                                            .running = In<double>(running),
                                            .moments = In<double>(moments),
                                            .verdict = In<double>(verdict),
                                            .updated = Out<double>(updated)};
  Run("update running statistics",
      [&](cudaStream_t stream) { kernels::UpdateRunning(stream, arguments, blocks); });
  return updated;
}

}  // namespace syncbn::backend::cuda
