// The checkpoints of a run on disk: folders OUT/checkpoints/step-00001234 that hold
// model.safetensors (what one would load elsewhere), optimizer.safetensors (where the optimizer has
// a state) and manifest.json.
//
// A checkpoint is written under a hidden name, synced and renamed, so it is there as a whole or not
// at all, and its files carry digests, so damage is found before anything is restored. One process
// writes (that of replica 0); any may read. Who writes has claimed the run:
// OUT/checkpoints/attempt-3 is the claim of attempt 3, made in one operation that fails when it is
// there, and locked while that process lives. Not thread-safe.
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
  // Of all its files.
  std::vector<NamedTensor> tensors;
};

// ABORTED: a later attempt has taken over the run, and this one must leave.
class AttemptSuperseded : public Error {
 public:
  explicit AttemptSuperseded(std::string message) : Error(ErrorCode::kAborted, std::move(message)) {}
};

// What a claim does about a process that lives and has the run.
enum class LivingOwner {
  kReplaced,  // it finds at its next checkpoint that it has been superseded, and ends
  kRespected,
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
  ~CheckpointStore();
  CheckpointStore(const CheckpointStore&) = delete;
  CheckpointStore& operator=(const CheckpointStore&) = delete;

  // The highest attempt that has claimed the run or written a checkpoint; 0 when none has.
  int HighestAttempt() const;
  // To be called once by who is going to write: says on disk that this attempt has taken over, and
  // removes what writes that were cut short have left. Without a number it is the next one: of
  // several processes that try at once one gets it. Returns the number. Throws AttemptSuperseded
  // when a later attempt has taken over, ALREADY_EXISTS when another process has got the number, or
  // lives and is respected.
  int Claim(std::optional<int> attempt, LivingOwner owner = LivingOwner::kReplaced);
  // Throws AttemptSuperseded when a later attempt than this has taken over.
  void CheckAttempt(int attempt) const;

  // Removes all checkpoints. The claim stays.
  void RemoveAll();

  // Writes a checkpoint (the manifest's files are filled in), replacing one of the same step, then
  // removes those that are not to be kept. Returns its folder. On failure everything that was there
  // is untouched and nothing else is left: StorageError when the disk is full, so that training can
  // go on; AttemptSuperseded when a later attempt has taken over, also meanwhile.
  std::filesystem::path Save(Manifest manifest, const StateTensors& tensors);

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
  void RefuseLivingOwner(int attempt) const;
  void Publish(const std::filesystem::path& written, const std::filesystem::path& folder);
  void RemoveSurplus(int64_t saved_step);
  // Under a hidden name first: half a checkpoint must not look like one.
  void Remove(const std::filesystem::path& folder);
  void Warn(const std::string& warning) const;

  CheckpointStoreOptions options_;
  std::filesystem::path folder_;
  // Of the claim's file, which is locked as long as it is open; -1: none.
  int claim_ = -1;
};

}  // namespace syncbn::train
