// What decides about a step, and what an accepted one changes.
#include <algorithm>
#include <cmath>

#include "backend/host/host_executor.h"
#include "backend/merge.h"
#include "base/unknown_value.h"

namespace syncbn::backend::host {
namespace {

bool AllFinite(const Tensor& values) {
  return std::ranges::all_of(values.Span<double>(),
                             [](double value) { return std::isfinite(value); });
}

Tensor Part(const Tensor& flat, const UpdateSpec::Part& part) {
  return flat.Slice(part.offset, {part.elements});
}

// What the newest of `batches` normalization batches counts in the running statistics.
double ShareOfNewest(const RunningRule& rule, double batches) {
  switch (rule.kind) {
    case RunningRule::Kind::kMomentum: return rule.momentum;
    case RunningRule::Kind::kCumulative: return 1 / batches;
    case RunningRule::Kind::kNone: return 0;
  }
  ThrowUnknownValue("rule of the running statistics", static_cast<int>(rule.kind));
}

// See UpdateSpec::Part::trust. `decay` is the coupled one.
double TrustRatio(double coefficient, double decay, double weight_norm, double gradient_norm) {
  if (weight_norm == 0 || gradient_norm == 0) return 1;
  return coefficient * weight_norm / (gradient_norm + decay * weight_norm);
}

}  // namespace

void HostExecutor::AddSum(const Tensor& values, Tensor& total) {
  double& sum = total.Span<double>()[0];
  for (const double value : values.Span<double>()) sum += value;
}

void HostExecutor::SumsOfSquares(std::span<const Tensor> tensors, Tensor& sums) {
  SYNCBN_CHECK_EQ(static_cast<int64_t>(tensors.size()), sums.elements()) << "sums of squares";
  double* out = sums.Data<double>();
  for (const Tensor& x : tensors) *out++ = SumOfSquares(x);
}

void HostExecutor::JudgeStep(const StepEvidence& evidence, double clip_norm, Tensor& verdict) {
  SYNCBN_CHECK_EQ(verdict.elements(), verdict::kElements);
  double sum = 0;
  for (const double square : evidence.squares.Span<double>()) sum += square;
  const double norm = std::sqrt(sum);
  const bool accepted =
      std::isfinite(sum) && AllFinite(evidence.loss) && AllFinite(evidence.moments);
  double* out = verdict.Data<double>();
  out[verdict::kAccepted] = accepted ? 1 : 0;
  out[verdict::kNorm] = norm;
  out[verdict::kScale] = accepted && clip_norm > 0 && norm > clip_norm ? clip_norm / norm : 1;
}

void HostExecutor::Update(const UpdateSpec& spec, const UpdateInputs& inputs, Tensor& parameters,
                          std::span<Tensor> slots, Tensor& updates) {
  SYNCBN_CHECK_EQ(slots.size(), spec.slots()) << "state of an optimizer";
  const double* verdict = inputs.verdict.Data<double>();
  if (verdict[verdict::kAccepted] == 0) return;
  const double scale = verdict[verdict::kScale];
  double& made = updates.Span<double>()[0];
  for (size_t i = 0; i < spec.parts.size(); ++i) {
    const UpdateSpec::Part& part = spec.parts[i];
    const Tensor gradient = Part(inputs.gradients, part);
    Tensor weight = Part(parameters, part);
    Tensor first = slots.empty() ? Tensor() : Part(slots[0], part);
    if (spec.rule == UpdateSpec::Rule::kAdamW) {
      Tensor second = Part(slots[1], part);
      AdamWUpdate({.learning_rate = inputs.learning_rate,
                   .beta1 = spec.beta1,
                   .beta2 = spec.beta2,
                   .epsilon = spec.epsilon,
                   .weight_decay = part.weight_decay,
                   .gradient_scale = scale,
                   .update = made + 1},
                  gradient, first, second, weight);
      continue;
    }
    SYNCBN_CHECK(spec.rule == UpdateSpec::Rule::kSgd) << "a rule without code";
    // trust (g + d w) = (trust g) + (trust d) w; decoupled decay has no trust.
    const double coupled = spec.decoupled ? 0 : part.weight_decay;
    const double trust =
        part.trust ? TrustRatio(spec.trust_coefficient, coupled, std::sqrt(SumOfSquares(weight)),
                                scale * std::sqrt(inputs.squares.Data<double>()[i]))
                   : 1;
    SgdUpdate({.learning_rate = inputs.learning_rate,
               .momentum = spec.momentum,
               .nesterov = spec.nesterov,
               .weight_decay = spec.decoupled ? part.weight_decay : trust * part.weight_decay,
               .decoupled = spec.decoupled,
               .gradient_scale = trust * scale},
              gradient, first, weight);
  }
  made += 1;
}

Tensor HostExecutor::UpdateRunning(const RunningRule& rule, std::span<const RunningBlock> blocks,
                                   const Tensor& running, const Tensor& moments,
                                   const Tensor& verdict) {
  Tensor updated = Clone(running);
  if (rule.kind == RunningRule::Kind::kNone) return updated;
  if (verdict.defined() && verdict.Data<double>()[verdict::kAccepted] == 0) return updated;
  for (const RunningBlock& block : blocks) {
    const bool together = block.channels < 0;  // with co-moments
    const int64_t channels = block.size();
    const double* seen = moments.Data<double>() + block.moments;
    const double count = seen[0];
    // A single element has no variance: neither average may move without the other.
    if (count < 2) continue;
    const double* mean = seen + 1;
    const double* m2 = mean + channels;
    double* running_mean = updated.Data<double>() + block.running;
    double* running_var = running_mean + channels;
    double& batches = running_var[together ? channels * channels : channels];
    batches += 1;
    const double a = ShareOfNewest(rule, batches);
    const auto move = [a](double& average, double newest) {
      average = (1 - a) * average + a * newest;
    };
    for (int64_t c = 0; c < channels; ++c) {
      move(running_mean[c], mean[c]);
      if (!together) move(running_var[c], m2[c] / (count - 1));
    }
    if (!together) continue;
    for (int64_t i = 0; i < channels; ++i) {
      for (int64_t j = i; j < channels; ++j, ++m2) {
        double& covariance = running_var[i * channels + j];
        move(covariance, *m2 / (count - 1));
        running_var[j * channels + i] = covariance;
      }
    }
  }
  return updated;
}

}  // namespace syncbn::backend::host
