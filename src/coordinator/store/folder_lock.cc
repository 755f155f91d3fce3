#include "coordinator/store/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
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
  // Only for messages: that it could not be written (disk full) is no reason not to own the folder.
  if (::ftruncate(lock.descriptor_, 0) == 0) {
    [[maybe_unused]] const ssize_t written =
        ::pwrite(lock.descriptor_, owner.data(), owner.size(), 0);
  }
  return lock;
}

std::string FolderLock::Owner(const std::filesystem::path& file) {
  try {
    return ReadFile(file);
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
