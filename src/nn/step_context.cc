#include "nn/step_context.h"

#include <exception>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace syncbn::nn {

std::vector<RandomKey> SampleKeys(uint64_t seed, std::string_view purpose, int64_t epoch,
                                  std::span<const uint64_t> sample_ids, std::string_view layer_name,
                                  int call) {
  const RandomKey root = RandomKey(seed).Fold(purpose).Fold(static_cast<uint64_t>(epoch));
  std::vector<RandomKey> keys;
  keys.reserve(sample_ids.size());
  for (uint64_t sample : sample_ids) {
    keys.push_back(root.Fold(sample).Fold(layer_name).Fold(static_cast<uint64_t>(call)));
  }
  return keys;
}

StepContext::StepContext(StepInputs inputs) : inputs_(std::move(inputs)) {
  SYNCBN_CHECK(inputs_.executor != nullptr) << "a step context needs an executor";
  SYNCBN_CHECK(inputs_.parameter_layout != nullptr && inputs_.running_statistics_layout != nullptr);
  const ParameterLayout& layout = *inputs_.parameter_layout;
  SYNCBN_CHECK_EQ(inputs_.parameters.values().elements(), layout.flat_elements())
      << "flat parameters";
  SYNCBN_CHECK_EQ(inputs_.running_statistics.elements(),
                  inputs_.running_statistics_layout->flat_elements())
      << "running statistics";
  executor().SetWeightsVersion(inputs_.parameters.version());
  moments_ =
      executor().NewZeros({inputs_.running_statistics_layout->moments_elements()}, DType::kFloat64);
  const size_t count = static_cast<size_t>(layout.size());
  uses_.assign(count, 0);
  written_.assign(count, false);
  ready_.assign(count, false);
  if (!training()) return;
  SYNCBN_CHECK_EQ(inputs_.gradients.elements(), layout.flat_elements()) << "flat gradients";
  // What lies between parameters is reduced and summed with them, and so is what is not trained: it
  // must be zero.
  std::vector<Tensor> padding;
  for (int i = 0; i < layout.size(); ++i) {
    const int64_t begin = layout[i].offset + (layout[i].trained ? layout[i].shape.elements() : 0);
    const int64_t end = i + 1 < layout.size() ? layout[i + 1].offset : layout.flat_elements();
    if (end > begin) padding.push_back(inputs_.gradients.Slice(begin, {end - begin}));
  }
  executor().Zero(padding);
}

Tensor StepContext::Use(int parameter) {
  if (training()) ++uses_.at(static_cast<size_t>(parameter));
  return Parameter(parameter);
}

Tensor StepContext::Parameter(int parameter) const {
  return inputs_.parameter_layout->View(inputs_.parameters.values(), parameter);
}

backend::GradientOut StepContext::Gradient(int parameter) {
  SYNCBN_CHECK(training()) << "gradients exist in training only";
  const size_t index = static_cast<size_t>(parameter);
  SYNCBN_CHECK(!ready_.at(index)) << "the gradient of "
                                  << (*inputs_.parameter_layout)[parameter].name
                                  << " was already given away";
  const bool accumulate = written_[index];
  written_[index] = true;
  if (!IsTrained(parameter)) {
    return {.tensor = executor().New((*inputs_.parameter_layout)[parameter].shape,
                                     inputs_.gradients.dtype())};
  }
  return {.tensor = inputs_.parameter_layout->View(inputs_.gradients, parameter),
          .accumulate = accumulate};
}

void StepContext::GradientDone(int parameter) {
  const size_t index = static_cast<size_t>(parameter);
  SYNCBN_CHECK_GT(uses_.at(index), 0)
      << "gradient of " << (*inputs_.parameter_layout)[parameter].name << " without a use";
  SYNCBN_CHECK(written_[index] || !IsTrained(parameter))
      << "gradient of " << (*inputs_.parameter_layout)[parameter].name
      << " is done but was not written";
  if (--uses_[index] > 0) return;
  ready_[index] = true;
  if (inputs_.on_gradient_ready) inputs_.on_gradient_ready(parameter);
}

void StepContext::FinishGradients() {
  SYNCBN_CHECK(training()) << "gradients exist in training only";
  SYNCBN_CHECK(deferred_.empty()) << "gradients are still to be computed";
  SYNCBN_CHECK(tape_.empty()) << tape_.size()
                              << " records are left on the tape: the backward pass did not run to "
                                 "its end";
  for (int i = inputs_.parameter_layout->size() - 1; i >= 0; --i) {
    const size_t index = static_cast<size_t>(i);
    if (ready_[index]) continue;
    SYNCBN_CHECK_EQ(uses_[index], 0)
        << "the gradient of " << (*inputs_.parameter_layout)[i].name << " is not complete";
    Tensor gradient = inputs_.parameter_layout->View(inputs_.gradients, i);
    executor().Zero(gradient);
    ready_[index] = true;
    if (inputs_.on_gradient_ready) inputs_.on_gradient_ready(i);
  }
}

void StepContext::Defer(std::function<void()> work) {
  deferred_.push_back(std::move(work));
  if (deferred_.size() > kMostDeferred) RunOldest();
}

void StepContext::RunDeferred() {
  while (!deferred_.empty()) RunOldest();
}

void StepContext::RunOldest() {
  // Off the list first: what it holds is free when it is done.
  const std::function<void()> work = std::move(deferred_.front());
  deferred_.pop_front();
  work();
}

void StepContext::Save(Record record) {
  if (training()) tape_.push_back(std::move(record));
}

StepContext::Record StepContext::Restore(const void* owner) {
  if (!training()) {
    throw Error(ErrorCode::kFailedPrecondition,
                "a backward pass needs a forward pass in training mode: evaluation keeps no tape");
  }
  if (tape_.empty() || tape_.back().owner != owner) {
    throw Error(
        ErrorCode::kInternal,
        tape_.empty()
            ? "the tape is empty: backward was called more often than forward"
            : "the last record of the tape belongs to another layer: backward must run in the "
              "reverse order of forward");
  }
  Record record = std::move(tape_.back());
  tape_.pop_back();
  return record;
}

Tensor StepContext::MomentsOf(int norm, int64_t count) {
  const NormStatistics& statistics = (*inputs_.running_statistics_layout)[norm];
  return moments_.Slice(statistics.moments_offset, {count, statistics.moments_elements()});
}

std::vector<RandomKey> StepContext::SampleKeys(std::string_view purpose, const void* layer,
                                               std::string_view layer_name) {
  return nn::SampleKeys(inputs_.seed, purpose, inputs_.epoch, inputs_.sample_ids, layer_name,
                        calls_[layer]++);
}

StepContext::Inside::Inside(StepContext& context, std::string_view phase, std::string_view layer)
    : context_(context),
      outer_phase_(context.phase_),
      outer_layer_(context.layer_),
      exceptions_(std::uncaught_exceptions()) {
  context_.Enter(phase, layer);
}

StepContext::Inside::~Inside() {
  // Who looks for what has failed wants to see this layer.
  if (std::uncaught_exceptions() > exceptions_) return;
  if (outer_layer_.empty()) {
    context_.phase_ = context_.layer_ = {};
  } else {
    context_.Enter(outer_phase_, outer_layer_);
  }
}

void StepContext::Enter(std::string_view phase, std::string_view layer) {
  phase_ = phase;
  layer_ = layer;
  if (inputs_.link.reducer == nullptr) return;
  inputs_.link.reducer->Report(inputs_.link.replica, inputs_.step, phase, layer);
}

}  // namespace syncbn::nn
