#include "app/run/checkpoint_exchange.h"

#include <algorithm>

#include "base/check.h"
#include "config/difference.h"

namespace syncbn::app {
namespace {

// The flat tensors of a state, in a fixed order.
std::vector<Tensor> FlatTensors(const train::TrainingState& state) {
  std::vector<Tensor> tensors = {state.parameters, state.running};
  tensors.insert(tensors.end(), state.optimizer.slots.begin(), state.optimizer.slots.end());
  return tensors;
}

}  // namespace

int64_t RestoreEverywhere(comm::Communicator& communicator, const train::CheckpointStore* store,
                          const v1::RunSpec& spec, DType dtype, train::Trainer& trainer) {
  std::string manifest_text;
  train::TrainingState state;
  if (communicator.rank() == 0) {
    SYNCBN_CHECK(store != nullptr);
    if (const auto stored = store->Latest()) {
      const std::string source = stored->folder.string();
      const config::RunFile before = config::ParseRunFile(
          stored->manifest.run_file, source + "/manifest.json");
      std::vector<std::string> differences;
      for (const config::Difference& difference : config::ResultDifferences(before.spec, spec)) {
        differences.push_back(difference.path + ": " + difference.b + ", the checkpoint has " +
                              difference.a);
      }
      train::CheckContinues(differences, source);
      state = train::RestoreState(trainer.layouts(), dtype, stored->manifest, stored->tensors, source);
      manifest_text = stored->manifest.ToJson();
    }
  }
  manifest_text = communicator.Broadcast(0, manifest_text);
  if (manifest_text.empty()) return 0;
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
  return manifest.counters.step;
}

}  // namespace syncbn::app
