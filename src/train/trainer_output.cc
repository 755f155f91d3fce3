// What a trainer leaves on disk beside metrics: checkpoints and dumped steps.
#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "nn/simple_layers.h"
#include "train/step_dump.h"
#include "train/trainer.h"

namespace syncbn::train {

void Trainer::SaveCheckpoint(bool needed) {
  if (options_.checkpoints == nullptr) return;
  Begin(Activity::kCheckpoint);
  const std::string step = std::to_string(progress_.counters.step);
  try {
    if (options_.metrics != nullptr) options_.metrics->Flush();
    Manifest manifest = options_.manifest;
    progress_.probes = probes_.Kept();
    progress_.WriteTo(manifest);
    manifest.optimizer_updates = UpdatesOf(optimizer_state_);
    manifest.state_digest = StateDigest();
    manifest.created = FormatTime(Clock::System().Now());
    const auto folder =
        options_.checkpoints->Save(std::move(manifest), CheckpointTensors(layouts_, state()));
    saved_ = progress_.counters.step;
    if (options_.observer != nullptr) options_.observer->OnCheckpoint(folder, *saved_);
  } catch (const Error& error) {
    // A later attempt has taken over: this one must leave.
    if (error.code() == ErrorCode::kAborted) throw;
    if (!needed) {
      return Warn(
          "the checkpoint of step " + step +
          " was not written; earlier ones are untouched and training goes on: " + error.message());
    }
    const std::string what =
        IsLast() ? "the last checkpoint, of step " + step + ", was not written"
                 : "stopped on request after step " + step + ", WITHOUT a checkpoint of it";
    Lose(what + ": " + error.message() + "; " +
         (saved_
              ? "the newest is of step " + std::to_string(*saved_) + ": --resume goes on from there"
              : "there is none to go on from"));
  }
}

void Trainer::Lose(const std::string& what) {
  // What happened first is how it ends.
  if (ended_ && *ended_ != RunEnd::kStopped) return Warn(what);
  ended_ = RunEnd::kStorage;
  reason_ = what;
}

void Trainer::Dump(const LaunchedStep& launched) {
  Begin(Activity::kDump);
  const int64_t step = launched.step, epoch = launched.epoch;
  const data::PositionRange range = plan_.Step(launched.step_in_epoch);
  const std::vector<uint64_t> order = sampler_.Order(epoch);
  // Batches are keyed: made again they are what every replica was fed.
  const data::Batch batch = train_.Make(
      std::span(order).subspan(static_cast<size_t>(range.begin), static_cast<size_t>(range.size())),
      epoch);
  StepDump dump{.step = step,
                .epoch = epoch,
                .learning_rate = launched.learning_rate,
                .loss = figures_.loss / figures_.samples,
                .gradient_scale = figures_.gradient_scale,
                .accepted = figures_.accepted,
                .images = batch.images,
                .labels = batch.labels,
                .replica = Tensor({range.size()}, DType::kInt32),
                .sample_ids = Tensor({range.size()}, DType::kInt64),
                .logits = step_.logits(),
                .gradients = step_.gradients(),
                .before = *launched.before,
                .after = state()};
  for (const nn::DropoutSite& site : engine_.model().dropouts()) {
    dump.dropouts.push_back(
        {site.layer, nn::DropoutFactors(engine_.executors().main(), site, spec_.seed(), epoch,
                                        batch.sample_ids)});
  }
  for (const nn::NoiseSite& site : engine_.model().noises()) {
    nn::NoiseDraws draws = nn::DrawNoise(engine_.executors().main(), site, spec_.seed(), epoch,
                                         step, batch.sample_ids);
    dump.noises.push_back({site.layer + ".factors", std::move(draws.factors)});
    dump.noises.push_back({site.layer + ".shifts", std::move(draws.shifts)});
  }
  std::ranges::copy(batch.sample_ids, dump.sample_ids.Data<int64_t>());
  for (int replica = 0; replica < plan_.replicas(); ++replica) {
    const data::PositionRange slice = plan_.Slice(launched.step_in_epoch, replica);
    std::fill_n(dump.replica.Data<int32_t>() + (slice.begin - range.begin), slice.size(), replica);
  }
  try {
    WriteStepDump(options_.out, layouts_, dump);
  } catch (const Error& error) {
    Warn("step " + std::to_string(step) + " was not dumped: " + error.message());
    not_dumped_.push_back(step);
  }
}

}  // namespace syncbn::train
