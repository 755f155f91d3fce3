#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/check.h"
#include "base/unknown_value.h"
#include "train/tensor_names.h"

namespace syncbn::train {
namespace {

bool IsDecoupled(v1::WeightDecayMode mode) {
  switch (mode) {
    case v1::WEIGHT_DECAY_MODE_UNSPECIFIED:
    case v1::WEIGHT_DECAY_MODE_COUPLED: return false;
    case v1::WEIGHT_DECAY_MODE_DECOUPLED: return true;
    default: ThrowUnknownValue("train.optimizer.weight_decay_mode", static_cast<int>(mode));
  }
}

[[noreturn]] void ThrowUnknownKind(const v1::OptimizerSpec& spec) {
  ThrowUnknownValue("train.optimizer.kind", static_cast<int>(spec.kind()));
}

}  // namespace

OptimizerState OptimizerState::Clone() const {
  OptimizerState copy{.slots = {}, .updates = updates};
  for (const Tensor& slot : slots) copy.slots.push_back(slot.Clone());
  return copy;
}

Optimizer::Optimizer(const v1::OptimizerSpec& spec, const nn::ParameterLayout& layout)
    : spec_(spec),
      layout_(layout),
      decoupled_(IsDecoupled(spec.weight_decay_mode())) {
  switch (spec.kind()) {
    case v1::OPTIMIZER_KIND_ADAMW: slots_ = {"mean", "square"}; return;
    case v1::OPTIMIZER_KIND_UNSPECIFIED:
    case v1::OPTIMIZER_KIND_SGD:
    case v1::OPTIMIZER_KIND_LARS:
      if (spec.momentum() > 0) slots_ = {"velocity"};
      return;
    default: ThrowUnknownKind(spec);
  }
}

OptimizerState Optimizer::InitialState(DType dtype) const {
  OptimizerState state;
  for (size_t i = 0; i < slots_.size(); ++i) {
    state.slots.push_back(Tensor::Zeros({layout_.flat_elements()}, dtype));
  }
  return state;
}

bool Optimizer::Decays(const nn::Parameter& parameter) const {
  return parameter.role == nn::ParameterRole::kWeight || spec_.decay_norms_and_biases();
}

void Optimizer::Update(backend::Executor& executor, const UpdateInputs& inputs, Tensor& parameters,
                       OptimizerState& state) const {
  UpdateRange(executor, inputs, 0, layout_.size(), parameters, state);
  ++state.updates;
}

void Optimizer::UpdateRange(backend::Executor& executor, const UpdateInputs& inputs, int begin,
                            int end, Tensor& parameters, OptimizerState& state) const {
  SYNCBN_CHECK_EQ(state.slots.size(), slots_.size());
  for (int i = begin; i < end; ++i) {
    const bool decays = Decays(layout_[i]);
    const double decay = decays ? spec_.weight_decay() : 0;
    const Tensor gradient = layout_.View(inputs.gradients, i);
    Tensor weight = layout_.View(parameters, i);
    // trust (g + d w) = (trust g) + (trust d) w; decoupled decay has no trust.
    const auto sgd = [&](double trust) {
      Tensor velocity = state.slots.empty() ? Tensor() : layout_.View(state.slots[0], i);
      executor.SgdUpdate({.learning_rate = inputs.learning_rate,
                          .momentum = spec_.momentum(),
                          .nesterov = spec_.nesterov(),
                          .weight_decay = decoupled_ ? decay : trust * decay,
                          .decoupled = decoupled_,
                          .gradient_scale = trust * inputs.gradient_scale},
                         gradient, velocity, weight);
    };
    switch (spec_.kind()) {
      case v1::OPTIMIZER_KIND_ADAMW: {
        Tensor mean = layout_.View(state.slots[0], i), square = layout_.View(state.slots[1], i);
        executor.AdamWUpdate({.learning_rate = inputs.learning_rate,
                              .beta1 = spec_.beta1(),
                              .beta2 = spec_.beta2(),
                              .epsilon = spec_.epsilon(),
                              .weight_decay = decay,
                              .gradient_scale = inputs.gradient_scale,
                              .update = state.updates + 1},
                             gradient, mean, square, weight);
        break;
      }
      case v1::OPTIMIZER_KIND_LARS:
        sgd(decays ? TrustRatio(executor, inputs.gradient_scale, decoupled_ ? 0 : decay, weight, gradient)
                   : 1);
        break;
      case v1::OPTIMIZER_KIND_UNSPECIFIED:
      case v1::OPTIMIZER_KIND_SGD: sgd(1); break;
      default: ThrowUnknownKind(spec_);
    }
  }
}

double Optimizer::TrustRatio(backend::Executor& executor, double gradient_scale,
                             double coupled_decay, const Tensor& weight,
                             const Tensor& gradient) const {
  const double weight_norm = std::sqrt(executor.SumOfSquares(weight));
  const double gradient_norm = gradient_scale * std::sqrt(executor.SumOfSquares(gradient));
  if (weight_norm == 0 || gradient_norm == 0) return 1;
  return spec_.trust_coefficient() * weight_norm / (gradient_norm + coupled_decay * weight_norm);
}

std::vector<NamedTensor> Optimizer::StateTensors(const OptimizerState& state) const {
  SYNCBN_CHECK_EQ(state.slots.size(), slots_.size());
  std::vector<NamedTensor> tensors;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const std::string prefix = "optimizer." + std::string(slots_[i]) + ".";
    std::ranges::move(ParameterTensors(layout_, state.slots[i], prefix),
                      std::back_inserter(tensors));
  }
  return tensors;
}

GradientNorm GlobalNorm(backend::Executor& executor, const nn::ParameterLayout& layout,
                        const Tensor& gradients) {
  double sum = 0;
  for (int i = 0; i < layout.size(); ++i) {
    sum += executor.SumOfSquares(layout.View(gradients, i));
  }
  return {.norm = std::sqrt(sum), .finite = std::isfinite(sum)};
}

double ClipScale(double norm, double clip_norm) {
  return clip_norm > 0 && norm > clip_norm ? clip_norm / norm : 1;
}

}  // namespace syncbn::train
