#include "train/checkpoint.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "train/tensor_names.h"

namespace syncbn::train {

std::vector<NamedTensor> StateTensors::All() const {
  std::vector<NamedTensor> all = model;
  all.insert(all.end(), optimizer.begin(), optimizer.end());
  return all;
}

TrainingState TrainingState::ToDevice(backend::Stream& stream) const {
  return {.parameters = stream.ToDevice(parameters, parameters.dtype()),
          .running_statistics = stream.ToDevice(running_statistics, running_statistics.dtype()),
          .optimizer = optimizer.ToDevice(stream)};
}

TrainingState TrainingState::OnHost() const {
  return {.parameters = parameters.OnHost(),
          .running_statistics = running_statistics.OnHost(),
          .optimizer = optimizer.OnHost()};
}

StateTensors CheckpointTensors(const TensorLayouts& layouts, const TrainingState& there) {
  const TrainingState state = there.OnHost();
  StateTensors tensors{.model = ParameterTensors(*layouts.parameters, state.parameters),
                       .optimizer = layouts.optimizer->StateTensors(state.optimizer)};
  std::ranges::move(
      AsStateDict(RunningTensors(*layouts.running_statistics, state.running_statistics)),
      std::back_inserter(tensors.model));
  return tensors;
}

TrainingState EmptyState(const TensorLayouts& layouts, DType dtype) {
  return {.parameters = Tensor::Zeros({layouts.parameters->flat_elements()}, dtype),
          .running_statistics = nn::InitialRunningStatistics(*layouts.running_statistics),
          .optimizer = layouts.optimizer->InitialState(dtype)};
}

TrainingState RestoreState(const TensorLayouts& layouts, DType dtype, const Manifest& manifest,
                           std::span<const NamedTensor> tensors, const std::string& source) {
  // Zeros first: the padding between parameters is part of no tensor.
  TrainingState state = EmptyState(layouts, dtype);
  std::vector<NamedTensor> views = ParameterTensors(*layouts.parameters, state.parameters);
  std::ranges::move(RunningTensors(*layouts.running_statistics, state.running_statistics),
                    std::back_inserter(views));
  std::ranges::move(layouts.optimizer->StateTensors(state.optimizer), std::back_inserter(views));
  CopyByName(FromStateDict(tensors), views, source);
  state.optimizer.updates = UpdateCount(manifest.optimizer_updates);
  const Digest digest = StateDigest(*layouts.parameters, *layouts.running_statistics,
                                    state.parameters, state.running_statistics);
  if (digest != manifest.state_digest) {
    throw Error(ErrorCode::kDataLoss,
                source + " is damaged: parameters and running statistics have digest " +
                    digest.Hex() + ", its manifest says " + manifest.state_digest.Hex());
  }
  return state;
}

void CheckContinues(const std::vector<std::string>& differences, const std::string& source) {
  if (differences.empty()) return;
  throw Error(ErrorCode::kFailedPrecondition,
              source +
                  " cannot be continued with this run file, which differs in what changes the "
                  "result:\n  " +
                  Join(differences, "\n  ") +
                  "\nUse the run file of the checkpoint, or start a new run in another folder");
}

}  // namespace syncbn::train
