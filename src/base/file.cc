#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/printable.h"
#include "base/regular_file.h"
#include "base/storage_error.h"
#include "base/temporary_file.h"

namespace syncbn {
namespace {

ErrorCode CodeOfErrno(int error) {
  switch (error) {
    case ENOENT: case ENOTDIR: return ErrorCode::kNotFound;
    case EACCES: case EPERM: case EROFS: return ErrorCode::kPermissionDenied;
    case ENOSPC: case EDQUOT: case EMFILE: case ENFILE: case EFBIG: case ENOMEM:
      return ErrorCode::kResourceExhausted;
    case EEXIST: return ErrorCode::kAlreadyExists;
    case EISDIR: case ENAMETOOLONG: return ErrorCode::kInvalidArgument;
    case EIO: return ErrorCode::kDataLoss;
    default: return ErrorCode::kInternal;
  }
}

template <typename Container>
Container ReadWhole(const std::filesystem::path& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) ThrowErrno("open", path);
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) ThrowErrno("stat", path);
  Container content;
  // One more: the read behind the last byte says so.
  content.resize(static_cast<size_t>(status.st_size) + 1);
  size_t done = 0;
  while (true) {
    // Files in /proc report size 0, and a file may grow: read until the end, not until st_size.
    if (done == content.size()) content.resize(std::max<size_t>(4096, 2 * done));
    const ssize_t count = ::read(file.get(), content.data() + done, content.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) ThrowErrno("read", path);
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  content.resize(done);
  return content;
}

// From here on what a killed writer leaves is worth a look through the folder.
constexpr size_t kLarge = size_t{1} << 20;

bool WriteAll(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return true;
}

}  // namespace

void ThrowErrno(std::string_view operation, const std::filesystem::path& path) {
  const int error = errno;
  const std::string message = "cannot " + std::string(operation) + " " + OneLine(path.string()) +
                              ": " + std::strerror(error);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) throw StorageError(message);
  throw Error(CodeOfErrno(error), message);
}

std::string ReadFile(const std::filesystem::path& path) { return ReadWhole<std::string>(path); }

std::vector<std::byte> ReadFileBytes(const std::filesystem::path& path) {
  return ReadWhole<std::vector<std::byte>>(path);
}

void WriteFileAtomically(const std::filesystem::path& path, std::string_view content) {
  const std::span<const std::byte> piece = std::as_bytes(std::span(content.data(), content.size()));
  WriteFileAtomically(path, std::span(&piece, 1));
}

void WriteFileAtomically(const std::filesystem::path& path,
                         std::span<const std::span<const std::byte>> pieces) {
  // A device, a pipe or a socket would be gone afterwards, with a file in its place.
  struct stat there = {};
  if (::lstat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode) && !S_ISLNK(there.st_mode) &&
      !S_ISDIR(there.st_mode)) {
    throw UnfitFile(path, WhyNoFile(there.st_mode));
  }
  TemporaryFile temporary = CreateTemporaryBeside(path);
  size_t bytes = 0;
  for (std::span<const std::byte> piece : pieces) bytes += piece.size();
  if (bytes >= kLarge) RemoveAbandonedBeside(path, temporary);
  auto fail = [&](const char* operation) {
    const int error = errno;
    ::unlink(temporary.path.c_str());
    errno = error;
    ThrowErrno(operation, path);
  };
  for (std::span<const std::byte> piece : pieces) {
    if (!WriteAll(temporary.descriptor.get(), piece)) fail("write");
  }
  if (::fsync(temporary.descriptor.get()) != 0) fail("sync");
  if (!temporary.descriptor.Close()) fail("close");
  if (::rename(temporary.path.c_str(), path.c_str()) != 0) fail("rename to");
  const std::filesystem::path folder = path.parent_path();
  SyncFolder(folder.empty() ? "." : folder);
}

void SyncFolder(const std::filesystem::path& folder) {
  Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0) ThrowErrno("open", folder);
  if (::fsync(directory.get()) != 0) ThrowErrno("sync", folder);
}

}  // namespace syncbn
