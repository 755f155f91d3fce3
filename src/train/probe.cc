#include "train/probe.h"

#include <utility>

#include "train/probes/flat_vectors.h"

namespace syncbn::train {

nn::ParameterSet ProbedStep::Along(const Tensor& direction, double length) const {
  Tensor moved = executor->Clone(parameters.values());
  FlatVectors(model->parameters(), *executor).AddScaled(direction, length, moved);
  return nn::ParameterSet(std::move(moved));
}

}  // namespace syncbn::train
