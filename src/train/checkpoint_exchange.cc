#include "train/checkpoint_exchange.h"

#include <algorithm>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "comm/shared_failure.h"

namespace syncbn::train {
namespace {

constexpr std::string_view kDoing = "restore the run's state";

// The flat tensors of a state, in a fixed order.
std::vector<Tensor> FlatTensors(const TrainingState& state) {
  std::vector<Tensor> tensors = {state.parameters, state.running_statistics};
  tensors.insert(tensors.end(), state.optimizer.slots.begin(), state.optimizer.slots.end());
  return tensors;
}

// Collective. In all but the root the values are replaced by the root's.
void ShareValues(comm::Communicator& communicator, const TrainingState& state) {
  if (communicator.size() == 1) return;
  for (Tensor tensor : FlatTensors(state)) {
    const std::span<std::byte> bytes = tensor.Bytes();
    const std::string received =
        communicator.Broadcast(0, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    SYNCBN_CHECK_EQ(received.size(), bytes.size());
    std::ranges::copy(std::as_bytes(std::span(received)), bytes.begin());
  }
}

}  // namespace

bool RestoreEverywhere(comm::Communicator& communicator, const StoredCheckpoint* checkpoint,
                       DType dtype, Trainer& trainer) {
  const bool root = communicator.rank() == 0;
  std::string text;
  TrainingState state;
  std::exception_ptr failure;
  if (root && checkpoint != nullptr) {
    try {
      state = RestoreState(trainer.layouts(), dtype, checkpoint->manifest, checkpoint->tensors,
                           checkpoint->folder.string());
      text = checkpoint->manifest.ToJson();
    } catch (...) {
      failure = std::current_exception();
    }
  }
  comm::ShareFailure(communicator, failure, kDoing);
  text = communicator.Broadcast(0, text);
  if (text.empty()) return false;
  const Manifest manifest = Manifest::FromJson(text, "the checkpoint of rank 0");
  if (!root) {
    try {
      state = EmptyState(trainer.layouts(), dtype);  // the values are replaced
    } catch (...) {
      failure = std::current_exception();
    }
  }
  // Nobody waits for the values of one that has no room for them.
  comm::ShareFailure(communicator, failure, kDoing);
  ShareValues(communicator, state);
  state.optimizer.updates = UpdateCount(manifest.optimizer_updates);
  trainer.Restore(std::move(state), manifest);
  SYNCBN_CHECK(trainer.StateDigest() == manifest.state_digest) << "of the restored state";
  return true;
}

void TakeWeightsEverywhere(comm::Communicator& communicator, const v1::InitSpec& init,
                           const WeightsFile* file, const nn::Model& model, DType dtype,
                           Trainer& trainer) {
  TrainingState state;
  std::exception_ptr failure;
  try {
    if (communicator.rank() == 0) {
      state = trainer.InitialState();
      const std::vector<std::string> except(init.except().begin(), init.except().end());
      if (file != nullptr) {
        TakeWeights(model, *file, except, state);
      } else {
        TakeWeights(model, ReadWeights(init.from()), except, state);
      }
    } else {
      state = EmptyState(trainer.layouts(), dtype);  // the values are replaced
    }
  } catch (...) {
    failure = std::current_exception();
  }
  comm::ShareFailure(communicator, failure, "read the weights to begin with");
  ShareValues(communicator, state);
  trainer.StartFrom(state);
}

}  // namespace syncbn::train
