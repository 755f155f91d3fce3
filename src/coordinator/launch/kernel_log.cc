#include "coordinator/launch/kernel_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

namespace syncbn::coordinator {
namespace {

// The inode of the namespace in which the kernel counts processes (PROC_PID_INIT_INO).
constexpr ino_t kFirstNamespace = 0xEFFFFFFC;

bool SeesNumbersOfTheKernel() {
  struct stat own {};
  return ::stat("/proc/self/ns/pid", &own) == 0 && own.st_ino == kFirstNamespace;
}

template <typename Number>
std::optional<Number> NumberAt(std::string_view text) {
  Number number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc()) return std::nullopt;
  return number;
}

}  // namespace

KernelLog::KernelLog() {
  if (!SeesNumbersOfTheKernel()) return;
  file_ = ::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (file_ >= 0) ::lseek(file_, 0, SEEK_END);
}

KernelLog::~KernelLog() {
  if (file_ >= 0) ::close(file_);
}

std::vector<int64_t> KernelLog::OomKilled() {
  std::vector<int64_t> killed;
  char record[8192];
  while (file_ >= 0) {
    const ssize_t count = ::read(file_, record, sizeof record);
    // EPIPE: records were overwritten before they were read; the next is the oldest there is.
    if (count < 0 && (errno == EINTR || errno == EPIPE)) continue;
    if (count <= 0) break;
    if (const auto pid = OomVictim({record, static_cast<size_t>(count)})) killed.push_back(*pid);
  }
  return killed;
}

std::optional<int64_t> OomVictim(std::string_view record) {
  // "PRIORITY,SEQUENCE,TIME,FLAGS;TEXT"; above the lowest three bits the priority says who speaks,
  // and 0 is the kernel alone.
  const auto priority = NumberAt<int>(record);
  const size_t text = record.find(';');
  if (!priority || *priority >= 8 || text == std::string_view::npos) return std::nullopt;
  record.remove_prefix(text + 1);
  for (const std::string_view words :
       {"Out of memory: Killed process ", "Memory cgroup out of memory: Killed process ",
        "Out of memory (oom_kill_allocating_task): Killed process "}) {
    if (record.starts_with(words)) return NumberAt<int64_t>(record.substr(words.size()));
  }
  return std::nullopt;
}

}  // namespace syncbn::coordinator
