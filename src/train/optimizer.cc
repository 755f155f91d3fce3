#include "train/optimizer.h"

#include <algorithm>
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

}  // namespace

OptimizerState OptimizerState::Clone(backend::Stream& stream) const {
  OptimizerState copy{.slots = {}, .updates = stream.Clone(updates)};
  for (const Tensor& slot : slots) copy.slots.push_back(stream.Clone(slot));
  return copy;
}

OptimizerState OptimizerState::ToDevice(backend::Stream& stream) const {
  OptimizerState there{.slots = {}, .updates = stream.ToDevice(updates, DType::kFloat64)};
  for (const Tensor& slot : slots) there.slots.push_back(stream.ToDevice(slot, slot.dtype()));
  return there;
}

OptimizerState OptimizerState::OnHost() const {
  OptimizerState here{.slots = {}, .updates = updates.OnHost()};
  for (const Tensor& slot : slots) here.slots.push_back(slot.OnHost());
  return here;
}

Tensor UpdateCount(int64_t updates) {
  Tensor count({1}, DType::kFloat64);
  count.Data<double>()[0] = static_cast<double>(updates);
  return count;
}

int64_t UpdatesOf(const OptimizerState& state) {
  const Tensor count = state.updates.OnHost();
  return static_cast<int64_t>(count.Data<double>()[0]);
}

Optimizer::Optimizer(const v1::OptimizerSpec& spec, const nn::ParameterLayout& layout)
    : spec_(spec),
      layout_(layout),
      update_{.momentum = spec.momentum(),
              .nesterov = spec.nesterov(),
              .decoupled = IsDecoupled(spec.weight_decay_mode()),
              .trust_coefficient = spec.trust_coefficient(),
              .beta1 = spec.beta1(),
              .beta2 = spec.beta2(),
              .epsilon = spec.epsilon()} {
  switch (spec.kind()) {
    case v1::OPTIMIZER_KIND_ADAMW:
      update_.rule = backend::UpdateSpec::Rule::kAdamW;
      slots_ = {"mean", "square"};
      break;
    case v1::OPTIMIZER_KIND_UNSPECIFIED:
    case v1::OPTIMIZER_KIND_SGD:
    case v1::OPTIMIZER_KIND_LARS:
      if (spec.momentum() > 0) slots_ = {"velocity"};
      break;
    default:
      ThrowUnknownValue("train.optimizer.kind", static_cast<int>(spec.kind()));
  }
  for (const nn::Parameter& parameter : layout.parameters()) {
    const bool decays = Decays(parameter);
    update_.parts.push_back({.offset = parameter.offset,
                             .elements = parameter.trained ? parameter.shape.elements() : 0,
                             .weight_decay = decays ? spec.weight_decay() : 0,
                             .trust = decays && spec.kind() == v1::OPTIMIZER_KIND_LARS});
  }
}

OptimizerState Optimizer::InitialState(DType dtype) const {
  OptimizerState state{.slots = {}, .updates = UpdateCount(0)};
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
  executor.Update(update_, inputs, parameters, state.slots, state.updates);
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

Tensor SquaredNorms(backend::Executor& executor, const nn::ParameterLayout& layout,
                    const Tensor& flat) {
  std::vector<Tensor> tensors;
  for (int i = 0; i < layout.size(); ++i) tensors.push_back(layout.View(flat, i));
  Tensor squares = executor.New({layout.size()}, DType::kFloat64);
  executor.SumsOfSquares(tensors, squares);
  return squares;
}

}  // namespace syncbn::train
