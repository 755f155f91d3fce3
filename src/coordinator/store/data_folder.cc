#include "coordinator/store/data_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/file.h"
#include "base/host.h"
#include "base/text.h"

namespace syncbn::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStoreLine = "\nstore ";

std::string TextOf(const fs::path& file) {
  try {
    std::string text = ReadFile(file);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  } catch (const Error&) {
    return "";
  }
}

// The id of the store that the lock's last owner had; empty where it says none.
std::string IdInLock(const fs::path& lock) {
  const std::string text = TextOf(lock);
  const size_t at = text.find(kStoreLine);
  return at == std::string::npos ? "" : text.substr(at + kStoreLine.size());
}

std::string OwnerText(const std::string& store_id) {
  return "process " + std::to_string(::getpid()) + " on " + HostName() + " since " +
         FormatTime(Clock::System().Now()) +
         (store_id.empty() ? "" : std::string(kStoreLine) + store_id) + "\n";
}

fs::path IdFile(const fs::path& data) {
  return data / "jobs" / "store-id";
}

int64_t CountJobs(const fs::path& data) {
  int64_t count = 0;
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(data / "jobs", none)) {
    const std::string name = entry.path().filename().string();
    count += !name.empty() && name.find_first_not_of("0123456789") == std::string::npos ? 1 : 0;
  }
  return count;
}

FolderLock TakeLock(const fs::path& path) {
  std::error_code failure;
  fs::create_directories(path, failure);
  if (failure) {
    throw Error(ErrorCode::kPermissionDenied,
                "cannot make the data folder " + path.string() + ": " + failure.message());
  }
  const fs::path file = path / "lock";
  const std::string id = IdInLock(file);
  // The id stays in it whatever becomes of this start.
  std::optional<FolderLock> lock = FolderLock::TryLock(file, OwnerText(id));
  if (!lock) {
    throw Error(ErrorCode::kFailedPrecondition,
                "the data folder " + path.string() + " belongs to another coordinator (" +
                    FolderLock::Owner(file) + "): stop that one, or give --data another folder");
  }
  return *std::move(lock);
}

// Newest first.
std::vector<fs::path> CopiesIn(const fs::path& data) {
  std::vector<std::pair<fs::file_time_type, fs::path>> found;
  auto look = [&](const fs::path& folder, auto fits) {
    std::error_code none;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, none)) {
      const std::string name = entry.path().filename().string();
      const auto time = entry.last_write_time(none);
      if (fits(name) && !none) found.emplace_back(time, entry.path());
    }
  };
  look(data / "backups", [](const std::string& name) { return name.ends_with(".db"); });
  look(data, [](const std::string& name) { return name.starts_with("store.db.version-"); });
  std::sort(found.rbegin(), found.rend());
  std::vector<fs::path> copies;
  for (auto& [time, path] : found) copies.push_back(std::move(path));
  return copies;
}

}  // namespace

fs::path BackupFile(const fs::path& data, const std::string& prefix, WallTime now) {
  const fs::path folder = data / "backups";
  fs::create_directories(folder);
  std::string time = FormatTime(now);
  std::replace(time.begin(), time.end(), ':', '-');
  return folder / (prefix + "-" + time + ".db");
}

std::string RestoreAdvice(const fs::path& data) {
  const std::string store = (data / "store.db").string();
  const std::vector<fs::path> copies = CopiesIn(data);
  const std::string from =
      copies.empty() ? "a backup of yours (none is left in " + (data / "backups").string() + ")"
                     : copies.front().string() + ", the newest backup there is,";
  return "copy " + from + " to " + store +
         ", remove store.db-wal and store.db-shm beside it, and start the coordinator again";
}

DataFolder::DataFolder(const fs::path& path) : path_(path), lock_(TakeLock(path)) {
  std::error_code missing;
  const auto size = fs::file_size(store(), missing);
  if (!missing && size > 0) return;
  if (fs::is_directory(store())) {
    throw Error(ErrorCode::kFailedPrecondition,
                "the store " + store().string() + " is a folder: move it away. To go on with an "
                "earlier store, " + RestoreAdvice(path_));
  }
  const int64_t jobs = CountJobs(path_);
  if (jobs == 0 && IdInLock(path_ / "lock").empty()) return;
  throw Error(
      ErrorCode::kFailedPrecondition,
      "the store " + store().string() + (missing ? " is missing" : " is empty") +
          (jobs > 0 ? ", but the folder holds " + Plural(jobs, "job") + " that it must have known"
                    : ", but this folder had one") +
          ": a new one would know no job and no token, and everybody on this machine would be "
          "an admin. To go on, " +
          RestoreAdvice(path_) + ". To begin anew, give --data an empty folder");
}

void DataFolder::Adopt(const std::string& store_id) {
  const std::string jobs_id = TextOf(IdFile(path_));
  if (!jobs_id.empty() && jobs_id != store_id && CountJobs(path_) > 0) {
    throw Error(ErrorCode::kFailedPrecondition,
                "the jobs in " + (path_ / "jobs").string() + " are not those of " +
                    store().string() + " (they are of store " + jobs_id + ", this is store " +
                    store_id +
                    "): put back the store that knows them, or give --data another folder");
  }
  if (jobs_id != store_id) {
    try {
      fs::create_directories(path_ / "jobs");
      WriteFileAtomically(IdFile(path_), store_id + "\n");
    } catch (const std::exception&) {
      // A full disk: one that cannot start cannot be made room on.
    }
  }
  lock_.Write(OwnerText(store_id));
  struct stat status {};
  if (::stat(store().c_str(), &status) != 0) ThrowErrno("look at", store());
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

bool DataFolder::HasLostStore() const {
  if (inode_ == 0) return false;
  struct stat status {};
  // A file system that does not answer now has lost nothing yet.
  if (::stat(store().c_str(), &status) != 0) return errno == ENOENT || errno == ENOTDIR;
  return status.st_dev != device_ || status.st_ino != inode_;
}

std::string DataFolder::WhyLost() const {
  if (HasLostStore()) {
    return "the store " + store().string() +
           " was removed, moved or replaced while this coordinator uses it";
  }
  if (!lock_.IsOf(path_ / "lock")) {
    return "the lock " + (path_ / "lock").string() +
           " was removed, moved or replaced: another coordinator may use the folder. Stop every "
           "coordinator on it, and start one";
  }
  return "";
}

}  // namespace syncbn::coordinator
