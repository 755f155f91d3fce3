#include "data/index_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>

#include "base/printable.h"

namespace syncbn::data {
namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;

// Before it is said that somebody else is waited for.
constexpr std::chrono::milliseconds kUnsaid{1000};
constexpr std::chrono::milliseconds kLook{50};

bool IsAt(int descriptor, const fs::path& file) {
  struct stat open, there;
  return ::fstat(descriptor, &open) == 0 && ::lstat(file.c_str(), &there) == 0 &&
         open.st_dev == there.st_dev && open.st_ino == there.st_ino;
}

constexpr size_t kMostWord = 24;

// "1796041200000000000\n"
std::optional<int64_t> WordIn(int descriptor) {
  char word[kMostWord];
  const ssize_t size = ::pread(descriptor, word, sizeof(word), 0);
  if (size < 2 || word[size - 1] != '\n') return std::nullopt;
  int64_t begun = 0;
  const auto [end, failed] = std::from_chars(word, word + size - 1, begun);
  if (failed != std::errc() || end != word + size - 1) return std::nullopt;
  return begun;
}

}  // namespace

IndexLock::IndexLock(const std::vector<fs::path>& files, const fs::path& folder,
                     const IndexOptions& options)
    : folder_(folder), options_(options) {
  for (const fs::path& index : files) {
    std::error_code ignored;
    if (index != files.front()) fs::create_directories(index.parent_path(), ignored);
    fs::path file = index;
    file += ".lock";
    Attempt attempt = Attempt::kAgain;
    while (attempt == Attempt::kAgain) attempt = TryAt(file);
    if (attempt == Attempt::kElsewhere) continue;
    if (attempt == Attempt::kLocked) {
      file_ = file;
      beat_ = std::jthread([this](const std::stop_token& stop) { Beat(stop); });
    }
    return;
  }
}

IndexLock::~IndexLock() {
  if (descriptor_.get() < 0) return;
  beat_ = {};
  // While it is locked: whoever waits sees that the file which it then gets is not there. Another
  // may lie in its place where somebody did not want to wait any longer.
  if (IsAt(descriptor_.get(), file_)) ::unlink(file_.c_str());
}

void IndexLock::Tell(int64_t begun) const {
  if (descriptor_.get() < 0) return;
  const std::string word = std::to_string(begun) + "\n";
  // Where that fails the others look themselves.
  if (::pwrite(descriptor_.get(), word.data(), word.size(), 0) < 0) return;
}

IndexLock::Attempt IndexLock::TryAt(const fs::path& file) {
  Descriptor open(
      ::open(file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666));
  struct stat info;
  if (open.get() < 0 || ::fstat(open.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return Attempt::kElsewhere;
  }
  while (::flock(open.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return Attempt::kElsewhere;  // a file system without locks
    if (!WaitFor(open, file)) return Attempt::kWithout;
    told_ = WordIn(open.get());
    return told_ ? Attempt::kWithout : Attempt::kAgain;
  }
  if (!IsAt(open.get(), file)) return Attempt::kAgain;
  // Left by one that was killed, or no lock of ours: not written to.
  if (::fstat(open.get(), &info) != 0 || info.st_size != 0 || info.st_nlink != 1) {
    return ::unlink(file.c_str()) == 0 ? Attempt::kAgain : Attempt::kElsewhere;
  }
  descriptor_ = std::move(open);
  return Attempt::kLocked;
}

// Until it may be free; false: nobody lives who has it.
bool IndexLock::WaitFor(const Descriptor& descriptor, const fs::path& file) {
  const auto say = [&](const std::string& line) {
    if (options_.say) options_.say(line);
  };
  const SteadyClock::time_point begin = SteadyClock::now();
  SteadyClock::time_point sign = begin;
  std::chrono::milliseconds next = kUnsaid;
  for (timespec last{};;) {
    struct stat info;
    if (::fstat(descriptor.get(), &info) != 0) return true;
    const SteadyClock::time_point now = SteadyClock::now();
    if (std::pair(info.st_mtim.tv_sec, info.st_mtim.tv_nsec) !=
        std::pair(last.tv_sec, last.tv_nsec)) {
      last = info.st_mtim;
      sign = now;
    }
    if (now - sign > options_.patience) {
      say("who looks at the images of " + OneLine(folder_.string()) +
          " shows no sign of life: they are looked at here");
      return false;
    }
    if (now - begin > next) {
      const bool first = next == kUnsaid;
      next += options_.remind;
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - begin).count();
      say((first ? "waiting" : "waiting for " + std::to_string(seconds) + " s now") +
          " for another process, which looks at the images of " + OneLine(folder_.string()) +
          (first ? ""
                 : "; remove " + OneLine(file.string()) +
                       " to wait no longer and look at them here"));
    }
    // Removed so that it is not waited for, or by who had it.
    if (!IsAt(descriptor.get(), file)) return true;
    if (::flock(descriptor.get(), LOCK_EX | LOCK_NB) == 0) {
      // It is let go with the descriptor, and asked for anew.
      return true;
    }
    std::this_thread::sleep_for(kLook);
  }
}

void IndexLock::Beat(const std::stop_token& stop) const {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  while (!wake.wait_for(lock, stop, options_.beat, [&] { return stop.stop_requested(); })) {
    ::futimens(descriptor_.get(), nullptr);
  }
}

}  // namespace syncbn::data
