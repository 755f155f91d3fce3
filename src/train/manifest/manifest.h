// A checkpoint without its tensors: what its manifest.json holds, and where that lies. Apart from
// the rest of training, for who looks at checkpoints and trains nothing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"

namespace syncbn::train {

// OUT/checkpoints/step-00001234/manifest.json
inline constexpr const char* kCheckpointsFolder = "checkpoints";
inline constexpr const char* kManifestFile = "manifest.json";
// Far more than any has: the run file is in it, and little else. No reader takes more.
inline constexpr int64_t kMostManifestBytes = int64_t{16} << 20;
// "step-00001234", and back; nothing for another name.
std::string CheckpointName(int64_t step);
std::optional<int64_t> StepOfCheckpoint(std::string_view name);

struct Counters {
  // Steps done, skipped ones included: the number of the next step.
  int64_t step = 0;
  // Epoch of the next step.
  int64_t epoch = 0;
  // Training samples seen by those steps.
  int64_t samples = 0;
  // Steps that were not accepted.
  int64_t skipped_steps = 0;
};

// A run has gone on, after `step` steps, where something that bits depend on was another than
// before.
struct EnvironmentChange {
  int64_t step = 0;
  std::string what;  // "back end: cpu: AVX2, was cpu: AVX512"

  bool operator==(const EnvironmentChange&) const = default;
};

struct Manifest {
  Counters counters;
  int64_t optimizer_updates = 0;
  // Share of the test split that is classified right, if it was evaluated at this step.
  std::optional<double> test_accuracy;
  // Which start of the job wrote it, from 1.
  int attempt = 1;
  // Written because the run was asked to stop, at a step at which none was due: it goes when the
  // next one is written and is never the best, so that a run that was stopped keeps what an
  // undisturbed one keeps.
  bool until_next = false;
  // Sums that reports go on with (of the current epoch's losses, say); may be NaN.
  std::map<std::string, double> figures;
  // The effective run file in canonical form.
  std::string run_file;
  // StateDigest of parameters and running statistics.
  Digest state_digest;
  // Files of tensors beside it, with the digest of their bytes.
  std::map<std::string, Digest> files;
  // What bits depend on: program, library versions, instruction set, digests of the data.
  std::map<std::string, std::string> environment;
  std::vector<EnvironmentChange> environment_changes;
  // RFC 3339, UTC.
  std::string created;

  // A JSON text that ends in a digest of itself.
  std::string ToJson() const;
  // Throws DATA_LOSS "SOURCE is damaged: WHAT".
  static Manifest FromJson(const std::string& text, const std::string& source);
};

}  // namespace syncbn::train
