#include "base/temporary_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "base/digest.h"
#include "base/file.h"
#include "base/host.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMark = ".tmp.";
// Nobody waits so long between writing and renaming.
constexpr int64_t kAbandonedSeconds = 24 * 3600;

std::string Hex(uint64_t number) {
  return Digest{.high = number}.Hex().substr(0, 16);
}

// Where a process id says who is meant; empty where nothing does.
std::string Place() {
  struct stat space {};
  const std::string boot = BootId();
  if (boot.empty() || ::stat("/proc/self/ns/pid", &space) != 0) return "";
  const std::string text = HostName() + "\n" + boot + "\n" + std::to_string(space.st_ino);
  return Hex(DigestOf(std::as_bytes(std::span(text))).high);
}

std::string NameStart(const fs::path& path) {
  return path.filename().string() + std::string(kMark);
}

// Of the end of a name: whether CreateTemporaryBeside has given it.
bool IsEnd(std::string_view end) {
  return end.size() >= 16 && end.find_first_not_of("0123456789abcdef.") == std::string_view::npos;
}

// And whether there is surely no such process any more.
bool IsGone(std::string_view end, const std::string& place) {
  pid_t process = 0;
  const auto [rest, error] = std::from_chars(end.data(), end.data() + end.size(), process);
  end.remove_prefix(static_cast<size_t>(rest - end.data()));
  if (error != std::errc() || process <= 0 || place.empty()) return false;
  return end.starts_with("." + place + ".") && ::kill(process, 0) != 0 && errno == ESRCH;
}

}  // namespace

TemporaryFile CreateTemporaryBeside(const fs::path& path) {
  const std::string place = Place();
  while (true) {
    uint64_t number = 0;
    if (::getrandom(&number, sizeof(number), 0) != ssize_t{sizeof(number)}) {
      ThrowErrno("get random bytes to write", path);
    }
    TemporaryFile made{.descriptor = Descriptor(),
                       .path = path.parent_path() / (NameStart(path) + std::to_string(::getpid()) +
                                                     "." + place + "." + Hex(number))};
    made.descriptor = Descriptor(
        ::open(made.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (made.descriptor.get() >= 0) return made;
    if (errno != EEXIST) ThrowErrno("create", made.path);
  }
}

void RemoveAbandonedBeside(const fs::path& path, const TemporaryFile& own) noexcept {
  try {
    struct stat now {};
    if (::fstat(own.descriptor.get(), &now) != 0) return;
    const fs::path folder = path.has_parent_path() ? path.parent_path() : ".";
    const std::string start = NameStart(path), place = Place();
    std::error_code failed;
    for (fs::directory_iterator entry(folder, failed), end; !failed && entry != end;
         entry.increment(failed)) {
      const std::string name = entry->path().filename().string();
      if (!name.starts_with(start) || !IsEnd(std::string_view(name).substr(start.size()))) continue;
      struct stat there {};
      if (::lstat(entry->path().c_str(), &there) != 0 || !S_ISREG(there.st_mode) ||
          there.st_uid != now.st_uid) {
        continue;
      }
      const bool old = there.st_mtim.tv_sec + kAbandonedSeconds < now.st_mtim.tv_sec;
      if (old || IsGone(std::string_view(name).substr(start.size()), place)) {
        ::unlink(entry->path().c_str());
      }
    }
  } catch (const std::exception&) {
    // Without memory for a name; the next writer will.
  }
}

}  // namespace syncbn
