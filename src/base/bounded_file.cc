#include "base/bounded_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/file.h"

namespace syncbn {

std::string ReadFileUpTo(const std::filesystem::path& path, size_t most, std::string_view what) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) ThrowErrno("open", path);
  std::string content;
  char piece[65536];
  ssize_t count = 0;
  do {
    count = ::read(file, piece, sizeof piece);
    if (count > 0) content.append(piece, static_cast<size_t>(count));
  } while (content.size() <= most && (count > 0 || (count < 0 && errno == EINTR)));
  const int failure = count < 0 ? errno : 0;
  ::close(file);
  errno = failure;
  if (failure != 0) ThrowErrno("read", path);
  if (content.size() <= most) return content;
  throw Error(ErrorCode::kInvalidArgument,
              path.string() + " has more than " + std::to_string(most) + " bytes, too many for " +
                  std::string(what) + ": is it another file?");
}

}  // namespace syncbn
