#include "train/probe.h"

#include "base/check.h"

namespace syncbn::train {

nn::ParameterSet ProbedStep::Along(const Tensor& direction, double length) const {
  // A step of plain gradient descent, on a copy.
  backend::UpdateSpec descent;
  for (const nn::Parameter& parameter : model->parameters().parameters()) {
    descent.parts.push_back({.offset = parameter.offset, .elements = parameter.shape.elements()});
  }
  Tensor verdict = executor->New({backend::verdict::kElements}, DType::kFloat64);
  executor->Fill(verdict, 1);  // accepted, and nothing is scaled
  Tensor updates = executor->NewZeros({1}, DType::kFloat64);
  Tensor moved = executor->Clone(parameters.values());
  executor->Update(descent, {.learning_rate = -length, .gradients = direction, .verdict = verdict},
                   moved, {}, updates);
  return nn::ParameterSet(std::move(moved));
}

}  // namespace syncbn::train
