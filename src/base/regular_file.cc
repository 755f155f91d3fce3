#include "base/regular_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "base/file.h"
#include "base/printable.h"

namespace syncbn {
namespace {

void CheckIsRegular(const std::filesystem::path& path, const struct stat& status) {
  if (S_ISREG(status.st_mode)) return;
  throw UnfitFile(path, WhyNoFile(status.st_mode));
}

// `Bytes` is a container of bytes.
template <typename Bytes>
Bytes ReadWhole(const std::filesystem::path& path, int64_t most) {
  const RegularFile file = OpenRegularFile(path);
  if (file.bytes > most) {
    throw UnfitFile(
        path, "has " + std::to_string(file.bytes) + " bytes, more than " + std::to_string(most));
  }
  Bytes content(static_cast<size_t>(file.bytes), typename Bytes::value_type{});
  size_t done = 0;
  while (done < content.size()) {
    const ssize_t count =
        ::read(file.descriptor.get(), content.data() + done, content.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) ThrowErrno("read", path);
    if (count == 0) break;  // cut meanwhile
    done += static_cast<size_t>(count);
  }
  content.resize(done);
  return content;
}

}  // namespace

UnfitFile::UnfitFile(const std::filesystem::path& path, const std::string& why)
    : Error(ErrorCode::kInvalidArgument, OneLine(path.string()) + " " + why), why_(why) {}

std::string WhyNoFile(mode_t mode) {
  if (S_ISDIR(mode)) return "is a folder, not a file";
  if (S_ISFIFO(mode)) return "is a pipe, not a file";
  if (S_ISSOCK(mode)) return "is a socket, not a file";
  return "is a device, not a file";
}

RegularFile OpenRegularFile(const std::filesystem::path& path) {
  struct stat status {};
  // Before it is opened: to open some devices does something.
  if (::stat(path.c_str(), &status) != 0) ThrowErrno("open", path);
  CheckIsRegular(path, status);
  // O_NONBLOCK: something else may lie there by now.
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NOCTTY;
  Descriptor file(::open(path.c_str(), kFlags | O_NONBLOCK));
  // Somebody holds a lease on it (fcntl(2)), and is asked to give it back: that is waited for.
  if (file.get() < 0 && errno == EWOULDBLOCK) file = Descriptor(::open(path.c_str(), kFlags));
  if (file.get() < 0) ThrowErrno("open", path);
  if (::fstat(file.get(), &status) != 0) ThrowErrno("stat", path);
  CheckIsRegular(path, status);
  return {.descriptor = std::move(file), .bytes = int64_t{status.st_size}};
}

std::vector<std::byte> ReadRegularFile(const std::filesystem::path& path, int64_t most) {
  return ReadWhole<std::vector<std::byte>>(path, most);
}

std::string ReadRegularTextFile(const std::filesystem::path& path, int64_t most) {
  return ReadWhole<std::string>(path, most);
}

}  // namespace syncbn
