// The checkpoints of a run on disk: folders OUT/checkpoints/step-00001234 that hold
// tensors.safetensors and manifest.json.
//
// A checkpoint is written under a hidden name, synced and renamed, so it is there as a whole or not
// at all, and its files carry digests, so damage is found before anything is restored. One process
// writes (that of replica 0); any may read. Not thread-safe.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "train/checkpoint.h"

namespace syncbn::train {

struct StoredCheckpoint {
  std::filesystem::path folder;
  Manifest manifest;
  std::vector<NamedTensor> tensors;
};

// ABORTED: a later attempt has taken over the run, and this one must leave.
class AttemptSuperseded : public Error {
 public:
  explicit AttemptSuperseded(std::string message) : Error(ErrorCode::kAborted, std::move(message)) {}
};

struct CheckpointStoreOptions {
  // The run's output folder.
  std::filesystem::path out;
  // The last `keep` are kept, and the best by test accuracy.
  int keep = 3;
  // Told what does not stop the run but somebody should know. May be empty.
  std::function<void(const std::string& warning)> on_warning;
};

class CheckpointStore {
 public:
  explicit CheckpointStore(CheckpointStoreOptions options);

  // The highest attempt that has claimed the run or written a checkpoint; 0 when none has.
  int HighestAttempt() const;
  // To be called once by who is going to write: says on disk that this attempt has taken over, and
  // removes what writes that were cut short have left. Throws AttemptSuperseded when a later
  // attempt has.
  void Claim(int attempt);

  // Removes all checkpoints. The claim stays.
  void RemoveAll();

  // Writes a checkpoint (tensors_digest is filled in), replacing one of the same step, then removes
  // those that are not to be kept. Returns its folder. On failure everything that was there is
  // untouched and nothing else is left: RESOURCE_EXHAUSTED when the disk is full, so that training
  // can go on; AttemptSuperseded when a later attempt has taken over, also meanwhile.
  std::filesystem::path Save(Manifest manifest, std::span<const NamedTensor> tensors);

  // The newest undamaged checkpoint, of at most step `at_most` if given; damaged ones are passed
  // over with a warning. Nothing when there is none; throws DATA_LOSS when there are some and all
  // are damaged.
  std::optional<StoredCheckpoint> Latest(std::optional<int64_t> at_most = std::nullopt) const;

  // One checkpoint, checked. Throws NOT_FOUND, or DATA_LOSS naming the file and what is wrong.
  static StoredCheckpoint Load(const std::filesystem::path& folder);

  // OUT/checkpoints
  const std::filesystem::path& folder() const { return folder_; }
  // OUT/checkpoints/step-00001234
  std::filesystem::path FolderOf(int64_t step) const;
  // Steps of all checkpoints, ascending, damaged ones included.
  std::vector<int64_t> Steps() const;

 private:
  void CheckAttempt(int attempt) const;
  void Publish(const std::filesystem::path& written, const std::filesystem::path& folder);
  void RemoveSurplus(int64_t saved_step);
  // Under a hidden name first: half a checkpoint must not look like one.
  void Remove(const std::filesystem::path& folder);
  void Warn(const std::string& warning) const;

  CheckpointStoreOptions options_;
  std::filesystem::path folder_;
  bool claimed_ = false;
};

}  // namespace syncbn::train
