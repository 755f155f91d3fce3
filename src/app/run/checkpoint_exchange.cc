#include "app/run/checkpoint_exchange.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"

namespace syncbn::app {
namespace {

// The flat tensors of a state, in a fixed order.
std::vector<Tensor> FlatTensors(const train::TrainingState& state) {
  std::vector<Tensor> tensors = {state.parameters, state.running};
  tensors.insert(tensors.end(), state.optimizer.slots.begin(), state.optimizer.slots.end());
  return tensors;
}

// The newest checkpoint, if it is one that this run may go on from.
std::optional<train::StoredCheckpoint> Admitted(const train::CheckpointStore& store,
                                                const v1::RunSpec& spec, const Facts& facts,
                                                bool any, std::string& other_bits) {
  auto stored = store.Latest();
  if (!stored) return stored;
  CheckRunFileContinues(*stored, spec);
  CheckDataContinues(*stored, facts);
  other_bits = OtherBits(*stored, facts);
  if (other_bits.empty()) return stored;
  if (!any) {
    throw Error(ErrorCode::kFailedPrecondition,
                stored->folder.string() + " was written where the bits are others: " + other_bits +
                    "\nGo on there, or accept other bits from here on: --set "
                    "train.checkpoint.resume_on=any");
  }
  stored->manifest.environment_changes.push_back({stored->manifest.counters.step, other_bits});
  return stored;
}

}  // namespace

Resumption RestoreEverywhere(comm::Communicator& communicator, const train::CheckpointStore* store,
                             const v1::RunSpec& spec, const Facts& facts, bool any, DType dtype,
                             train::Trainer& trainer) {
  std::string manifest_text, other_bits;
  train::TrainingState state;
  if (communicator.rank() == 0) {
    SYNCBN_CHECK(store != nullptr);
    if (const auto stored = Admitted(*store, spec, facts, any, other_bits)) {
      state = train::RestoreState(trainer.layouts(), dtype, stored->manifest, stored->tensors,
                                  stored->folder.string());
      manifest_text = stored->manifest.ToJson();
    }
  }
  manifest_text = communicator.Broadcast(0, manifest_text);
  if (manifest_text.empty()) return {};
  const train::Manifest manifest = train::Manifest::FromJson(manifest_text, "the checkpoint of rank 0");
  if (communicator.rank() != 0) {
    // The initial state has the right shapes; its values are replaced.
    state = {.parameters = trainer.state().parameters.Clone(),
             .running = trainer.state().running.Clone(),
             .optimizer = trainer.state().optimizer.Clone()};
  }
  if (communicator.size() > 1) {
    for (Tensor tensor : FlatTensors(state)) {
      const std::span<std::byte> bytes = tensor.Bytes();
      const std::string received = communicator.Broadcast(
          0, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      SYNCBN_CHECK_EQ(received.size(), bytes.size());
      std::ranges::copy(std::as_bytes(std::span(received)), bytes.begin());
    }
  }
  state.optimizer.updates = manifest.optimizer_updates;
  trainer.Restore(std::move(state), manifest);
  SYNCBN_CHECK(trainer.StateDigest() == manifest.state_digest) << "of the restored state";
  return {manifest.counters.step, other_bits};
}

}  // namespace syncbn::app
