#include "train/checkpoint_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "base/error.h"
#include "base/file.h"
#include "base/host.h"
#include "base/regular_file.h"
#include "train/safetensors.h"

namespace syncbn::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModelFile = "model.safetensors";
constexpr const char* kOptimizerFile = "optimizer.safetensors";
constexpr std::string_view kAttemptPrefix = "attempt-";
// The one claim of older versions, which held the number.
constexpr const char* kAttemptFile1 = "attempt";
// Names of folders that are being written or removed begin with this.
constexpr std::string_view kHiddenPrefix = ".step-";

std::string HiddenName(const fs::path& folder, std::string_view purpose) {
  return "." + folder.filename().string() + "." + std::string(purpose) + "." +
         std::to_string(::getpid());
}

template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  Number value{};
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

void MakeFolder(const fs::path& folder) {
  if (::mkdir(folder.c_str(), 0777) != 0 && errno != EEXIST) ThrowErrno("create", folder);
}

// Only what is damaged or half there lets a reader look further back: a file that may not be read,
// say, is an error to be told.
bool IsDamage(const Error& error) {
  return error.code() == ErrorCode::kDataLoss || error.code() == ErrorCode::kNotFound;
}

Manifest ReadManifest(const fs::path& folder) {
  const fs::path path = folder / kManifestFile;
  return Manifest::FromJson(ReadRegularTextFile(path, kMostManifestBytes), path.string());
}

std::optional<Manifest> TryReadManifest(const fs::path& folder) {
  try {
    return ReadManifest(folder);
  } catch (const Error& error) {
    if (IsDamage(error)) return std::nullopt;
    throw;
  }
}

std::vector<fs::path> EntriesWith(const fs::path& folder, std::string_view prefix) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string().starts_with(prefix)) entries.push_back(it->path());
  }
  return entries;
}

fs::path ClaimOf(const fs::path& folder, int attempt) {
  return folder / (std::string(kAttemptPrefix) + std::to_string(attempt));
}

std::vector<fs::path> Claims(const fs::path& folder) {
  return EntriesWith(folder, kAttemptPrefix);
}

// 0 for what is no claim.
int AttemptOf(const fs::path& claim) {
  const std::string name = claim.filename().string();
  return ParseNumber<int>(std::string_view(name).substr(kAttemptPrefix.size())).value_or(0);
}

std::string Line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace

CheckpointStore::CheckpointStore(CheckpointStoreOptions options)
    : options_(std::move(options)), folder_(options_.out / kCheckpointsFolder) {}

CheckpointStore::~CheckpointStore() {
  if (claim_ >= 0) ::close(claim_);
}

fs::path CheckpointStore::FolderOf(int64_t step) const {
  return folder_ / CheckpointName(step);
}

std::vector<int64_t> CheckpointStore::Steps() const {
  std::vector<int64_t> steps;
  std::error_code error;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    if (const auto step = StepOfCheckpoint(it->path().filename().string())) steps.push_back(*step);
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    errno = error.value();
    ThrowErrno("list", folder_);
  }
  std::ranges::sort(steps);
  return steps;
}

int CheckpointStore::HighestAttempt() const {
  int highest = 0;
  for (const fs::path& claim : Claims(folder_)) highest = std::max(highest, AttemptOf(claim));
  if (fs::exists(folder_ / kAttemptFile1)) {
    std::string text = ReadFile(folder_ / kAttemptFile1);
    if (!text.empty() && text.back() == '\n') text.pop_back();
    highest = std::max(highest, ParseNumber<int>(text).value_or(0));
  }
  for (int64_t step : Steps()) {
    const std::optional<Manifest> manifest = TryReadManifest(FolderOf(step));
    if (manifest) highest = std::max(highest, manifest->attempt);
  }
  return highest;
}

void CheckpointStore::CheckAttempt(int attempt) const {
  const int highest = HighestAttempt();
  if (attempt >= highest) return;
  throw AttemptSuperseded("attempt " + std::to_string(highest) + " of this run has taken over " +
                          options_.out.string() + ": attempt " + std::to_string(attempt) +
                          " must not write there any more");
}

void CheckpointStore::RefuseLivingOwner(int attempt) const {
  const fs::path claim = ClaimOf(folder_, attempt);
  const int fd = ::open(claim.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  const bool lives = ::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(fd);
  if (!lives) return;
  throw Error(ErrorCode::kAlreadyExists,
              "a run is under way in " + options_.out.string() + " (attempt " +
                  std::to_string(attempt) + ", " + Line(ReadFile(claim)) +
                  "): wait for its end, or end it with SIGTERM, which writes a checkpoint");
}

int CheckpointStore::Claim(std::optional<int> given, LivingOwner owner) {
  const int highest = HighestAttempt();
  const int attempt = given.value_or(highest + 1);
  CheckAttempt(attempt);
  if (owner == LivingOwner::kRespected) RefuseLivingOwner(highest);
  MakeFolder(options_.out);
  MakeFolder(folder_);
  const fs::path claim = ClaimOf(folder_, attempt);
  claim_ = ::open(claim.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  const bool made = claim_ >= 0;
  // A number that was given is this attempt's alone.
  if (!made && errno == EEXIST && given) {
    claim_ = ::open(claim.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  }
  if (claim_ < 0 && errno == EEXIST) {
    throw Error(ErrorCode::kAlreadyExists, "another run has taken " + options_.out.string() +
                                               " at this moment, as attempt " +
                                               std::to_string(attempt));
  }
  if (claim_ < 0) ThrowErrno("create", claim);
  // Where a file system has no locks, nobody is seen to live. Who looks whether somebody lives holds the
  // lock for a moment.
  ::flock(claim_, made ? LOCK_EX : LOCK_EX | LOCK_NB);
  const std::string owner_text =
      "process " + std::to_string(::getpid()) + " on " + HostName() + "\n";
  if (::write(claim_, owner_text.data(), owner_text.size()) < 0) ThrowErrno("write", claim);
  SyncFolder(folder_);
  // Somebody who saw the same may have been faster by two.
  CheckAttempt(attempt);
  std::error_code error;
  for (const fs::path& other : Claims(folder_)) {
    if (AttemptOf(other) < attempt) fs::remove(other, error);
  }
  fs::remove(folder_ / kAttemptFile1, error);
  for (const fs::path& leftover : EntriesWith(folder_, kHiddenPrefix))
    fs::remove_all(leftover, error);
  return attempt;
}

void CheckpointStore::RemoveAll() {
  for (int64_t step : Steps()) Remove(FolderOf(step));
}

fs::path CheckpointStore::Save(Manifest manifest, const StateTensors& tensors) {
  const int64_t step = manifest.counters.step;
  const fs::path folder = FolderOf(step);
  const fs::path temporary = folder_ / HiddenName(folder, "writing");
  CheckAttempt(manifest.attempt);
  WithFrame(
      [&] {
        return "writing the checkpoint of step " + std::to_string(step) +
               "; earlier checkpoints are intact";
      },
      [&] {
        std::error_code ignored;
        try {
          // Without its run file a checkpoint serves nobody: a folder that is gone stays gone.
          if (claim_ >= 0 && !fs::is_directory(options_.out)) {
            throw Error(ErrorCode::kNotFound,
                        "the output folder " + options_.out.string() + " is no longer there");
          }
          MakeFolder(options_.out);
          MakeFolder(folder_);
          fs::remove_all(temporary, ignored);
          MakeFolder(temporary);
          // "pt": what the loaders of other frameworks expect to see.
          auto write = [&](const char* name, const std::vector<NamedTensor>& part) {
            manifest.files[name] = WriteSafetensors(temporary / name, part, {{"format", "pt"}});
          };
          manifest.files.clear();
          write(kModelFile, tensors.model);
          if (!tensors.optimizer.empty()) write(kOptimizerFile, tensors.optimizer);
          WriteFileAtomically(temporary / kManifestFile, manifest.ToJson());
          SyncFolder(temporary);
          // Once more: writing took its time.
          CheckAttempt(manifest.attempt);
          Publish(temporary, folder);
          SyncFolder(folder_);
        } catch (...) {
          fs::remove_all(temporary, ignored);
          throw;
        }
      });
  try {
    RemoveSurplus(step);
  } catch (const Error& error) {
    Warn("old checkpoints could not be removed: " + error.message());
  }
  return folder;
}

void CheckpointStore::Publish(const fs::path& written, const fs::path& folder) {
  if (::renameat2(AT_FDCWD, written.c_str(), AT_FDCWD, folder.c_str(), RENAME_NOREPLACE) == 0) {
    return;
  }
  if (errno == EEXIST || errno == ENOTEMPTY) {
    // Swapped in one operation, so that at every moment one of the two is there.
    if (::renameat2(AT_FDCWD, written.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) == 0) {
      std::error_code ignored;
      fs::remove_all(written, ignored);
      return;
    }
  }
  if (errno != EINVAL && errno != ENOSYS) ThrowErrno("rename to", folder);
  // A file system without these flags (NFS). Between the two renames there is no checkpoint of this
  // step.
  if (fs::exists(folder)) Remove(folder);
  if (::rename(written.c_str(), folder.c_str()) != 0) ThrowErrno("rename to", folder);
}

void CheckpointStore::Remove(const fs::path& folder) {
  const fs::path hidden = folder_ / HiddenName(folder, "removing");
  if (::rename(folder.c_str(), hidden.c_str()) != 0) ThrowErrno("rename", folder);
  std::error_code error;
  fs::remove_all(hidden, error);
  if (error) {
    errno = error.value();
    ThrowErrno("remove", hidden);
  }
}

void CheckpointStore::RemoveSurplus(int64_t saved_step) {
  // Newer ones than that just written are damaged ones that a resumed run has passed over: not
  // counted, and left to be looked at until the run comes to their step again.
  std::vector<int64_t> steps = Steps();
  std::erase_if(steps, [&](int64_t step) { return step > saved_step; });
  std::ranges::reverse(steps);

  std::vector<int64_t> surplus;
  std::optional<int64_t> best;
  double best_accuracy = 0;
  int kept = 0;
  for (int64_t step : steps) {
    const std::optional<Manifest> manifest = TryReadManifest(FolderOf(step));
    // Only as long as it is the newest.
    if (manifest && manifest->until_next) {
      if (step != saved_step) surplus.push_back(step);
      continue;
    }
    const bool among_last = kept < options_.keep;
    if (manifest) ++kept;
    if (!among_last) surplus.push_back(step);
    // Of equals the newest.
    if (manifest && manifest->test_accuracy &&
        (!best || *manifest->test_accuracy > best_accuracy)) {
      best = step;
      best_accuracy = *manifest->test_accuracy;
    }
  }
  for (int64_t step : surplus) {
    if (step != best) Remove(FolderOf(step));
  }
}

StoredCheckpoint CheckpointStore::Load(const fs::path& folder) {
  StoredCheckpoint stored{.folder = folder, .manifest = ReadManifest(folder)};
  for (const auto& [name, digest] : stored.manifest.files) {
    // The manifest is a file like any other: it must not lead elsewhere.
    const fs::path path = folder / fs::path(name).filename();
    SafetensorsFile file = ReadSafetensors(path);
    if (file.digest != digest) {
      throw Error(ErrorCode::kDataLoss, path.string() + " is damaged: its bytes have digest " +
                                            file.digest.Hex() + ", its manifest says " +
                                            digest.Hex());
    }
    std::ranges::move(file.tensors, std::back_inserter(stored.tensors));
  }
  return stored;
}

std::optional<StoredCheckpoint> CheckpointStore::Latest(std::optional<int64_t> at_most) const {
  std::vector<int64_t> steps = Steps();
  std::ranges::reverse(steps);
  std::string damages;
  for (int64_t step : steps) {
    if (at_most && step > *at_most) continue;
    try {
      return Load(FolderOf(step));
    } catch (const Error& error) {
      if (!IsDamage(error)) throw;
      damages += "\n  " + error.message();
      Warn("the checkpoint of step " + std::to_string(step) +
           " is passed over: " + error.message());
    }
  }
  if (damages.empty()) return std::nullopt;
  throw Error(ErrorCode::kDataLoss,
              "no checkpoint in " + folder_.string() + " can be used:" + damages);
}

void CheckpointStore::Warn(const std::string& warning) const {
  if (options_.on_warning) options_.on_warning(warning);
}

}  // namespace syncbn::train
