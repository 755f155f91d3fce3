#include "coordinator/store/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace syncbn::coordinator {

std::optional<FolderLock> FolderLock::TryLock(const std::filesystem::path& file,
                                              const std::string& owner) {
  // Never inherited: a child that outlives this process must not keep the lock.
  FolderLock lock(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (lock.descriptor_ < 0) ThrowErrno("open", file);
  while (::flock(lock.descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return std::nullopt;
    if (errno != EINTR) ThrowErrno("lock", file);
  }
  lock.Write(owner);
  return lock;
}

void FolderLock::Write(const std::string& owner) const {
  // That it could not be written (disk full) is no reason not to own the folder.
  // Not cut first: on a full disk what stands there would be lost.
  const ssize_t written = ::pwrite(descriptor_, owner.data(), owner.size(), 0);
  if (written == static_cast<ssize_t>(owner.size())) {
    [[maybe_unused]] const int cut = ::ftruncate(descriptor_, written);
  }
}

bool FolderLock::IsOf(const std::filesystem::path& file) const {
  struct stat own {
  }, there{};
  if (::fstat(descriptor_, &own) != 0) return true;
  if (::stat(file.c_str(), &there) != 0) return errno != ENOENT && errno != ENOTDIR;
  return own.st_dev == there.st_dev && own.st_ino == there.st_ino;
}

std::string FolderLock::Owner(const std::filesystem::path& file) {
  try {
    const std::string text = ReadFile(file);
    return text.substr(0, text.find('\n'));
  } catch (const Error&) {
    return "";
  }
}

FolderLock::FolderLock(FolderLock&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}

FolderLock& FolderLock::operator=(FolderLock&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

FolderLock::~FolderLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace syncbn::coordinator
