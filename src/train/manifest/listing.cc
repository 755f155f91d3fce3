#include "train/manifest/listing.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <system_error>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"
#include "base/regular_file.h"
#include "base/utf8.h"

namespace syncbn::train {
namespace {

namespace fs = std::filesystem;

// Of the folder of all; 10,000 can be kept. And of that of one, which has three files.
constexpr int64_t kMostEntries = 100'000, kMostFiles = 1000;
constexpr size_t kMostDamage = 300;

// -1, with errno, where it is no folder or a link.
Descriptor OpenFolder(int at, const char* name) {
  return Descriptor(::openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// The names in a folder, in no order; false where there are more than `most`, of which no more are
// told then. `path` is for errors.
template <typename Tell>
bool TellNames(int folder, const fs::path& path, int64_t most, Tell tell) {
  Descriptor again = OpenFolder(folder, ".");
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(again.get()), &::closedir);
  if (stream == nullptr) ThrowErrno("list", path);
  again.Release();
  for (int64_t entries = 0;; ++entries) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr && errno != 0) ThrowErrno("list", path);
    if (entry == nullptr) return true;
    if (entries == most) return false;
    tell(entry->d_name);
  }
}

std::vector<int64_t> StepsIn(int folder, const fs::path& path) {
  std::vector<int64_t> steps;
  const bool all = TellNames(folder, path, kMostEntries, [&](const char* name) {
    if (const auto step = StepOfCheckpoint(name)) steps.push_back(*step);
  });
  if (!all) {
    throw Error(ErrorCode::kFailedPrecondition,
                path.string() + " has more than " + std::to_string(kMostEntries) +
                    " entries: they are not looked through; move away what is no checkpoint");
  }
  std::ranges::sort(steps, std::greater());
  return steps;
}

// Throws DATA_LOSS, saying what is wrong with it.
std::string ReadManifestText(int folder) {
  auto damaged = [](const std::string& what) -> Error {
    return Error(ErrorCode::kDataLoss, std::string(kManifestFile) + " " + what);
  };
  auto refused = [&] {
    const int code = errno;
    if (code == ENOENT) return damaged("is missing");
    if (code == ELOOP) return damaged("is a link");
    return damaged("cannot be read: " + std::generic_category().message(code));
  };
  const Descriptor file(
      ::openat(folder, kManifestFile, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct stat status {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) throw refused();
  if (!S_ISREG(status.st_mode)) throw damaged(WhyNoFile(status.st_mode));
  if (status.st_size > kMostManifestBytes) {
    throw damaged("has " + std::to_string(status.st_size) + " bytes, more than a manifest has");
  }
  std::string text(static_cast<size_t>(status.st_size), '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::read(file.get(), text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw refused();
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  text.resize(done);
  return text;
}

// The size of a file in the folder; nothing where no file is.
std::optional<int64_t> SizeIn(int folder, const char* name) {
  struct stat status {};
  if (::fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  if (!S_ISREG(status.st_mode)) return std::nullopt;
  return int64_t{status.st_size};
}

// Nothing where the folder has gone meanwhile.
std::optional<ListedCheckpoint> Look(int checkpoints, int64_t step) {
  ListedCheckpoint found{.step = step};
  const Descriptor folder = OpenFolder(checkpoints, CheckpointName(step).c_str());
  if (folder.get() < 0) {
    const int code = errno;
    if (code == ENOENT) return std::nullopt;
    found.damage = code == ENOTDIR || code == ELOOP
                       ? "it is no folder, or a link"
                       : "it cannot be opened: " + std::generic_category().message(code);
    return found;
  }
  try {
    TellNames(folder.get(), CheckpointName(step), kMostFiles,
              [&](const char* name) { found.bytes += SizeIn(folder.get(), name).value_or(0); });
    Manifest manifest = Manifest::FromJson(ReadManifestText(folder.get()), kManifestFile);
    for (const auto& [name, digest] : manifest.files) {
      // As who loads it does: the manifest must not lead elsewhere.
      const std::string file = fs::path(name).filename().string();
      if (!SizeIn(folder.get(), file.c_str()))
        throw Error(ErrorCode::kDataLoss, file + " is missing, or no file");
    }
    found.manifest = std::move(manifest);
  } catch (const Error& error) {
    found.damage = Utf8Beginning(error.message(), kMostDamage);
  }
  return found;
}

}  // namespace

CheckpointListing ListCheckpoints(const fs::path& out, size_t most) {
  CheckpointListing listing;
  const fs::path path = out / kCheckpointsFolder;
  const Descriptor run = OpenFolder(AT_FDCWD, out.c_str());
  if (run.get() < 0 && errno == ENOENT) return listing;
  if (run.get() < 0) ThrowErrno("list", out);
  const Descriptor checkpoints = OpenFolder(run.get(), kCheckpointsFolder);
  if (checkpoints.get() < 0 && errno == ENOENT) return listing;
  if (checkpoints.get() < 0 && (errno == ENOTDIR || errno == ELOOP)) {
    throw Error(ErrorCode::kFailedPrecondition,
                path.string() + " is no folder, or a link: checkpoints are looked for in a folder");
  }
  if (checkpoints.get() < 0) ThrowErrno("list", path);
  const std::vector<int64_t> steps = StepsIn(checkpoints.get(), path);
  size_t at = 0;
  for (; at < steps.size() && listing.checkpoints.size() < most; ++at) {
    if (auto found = Look(checkpoints.get(), steps[at]))
      listing.checkpoints.push_back(std::move(*found));
  }
  listing.left_out = static_cast<int64_t>(steps.size() - at);
  return listing;
}

}  // namespace syncbn::train
