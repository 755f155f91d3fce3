#include "coordinator/launch/cgroup_memory.h"

#include <unistd.h>

#include <optional>
#include <sstream>

#include "base/error.h"
#include "base/file.h"

namespace syncbn::coordinator {
namespace {

namespace fs = std::filesystem;

std::string ReadOrNothing(const fs::path& file) {
  try {
    return ReadFile(file);
  } catch (const Error&) {
    return "";
  }
}

// The value of a line "NAME VALUE".
std::optional<int64_t> ValueOf(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  std::string key;
  for (int64_t value = 0; lines >> key >> value;) {
    if (key == name) return value;
  }
  return std::nullopt;
}

// "/system.slice/x" of the line "0::/system.slice/x"; other lines are of cgroup v1.
std::string GroupIn(const std::string& membership) {
  std::istringstream lines(membership);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("0::/")) return line.substr(3);
  }
  return "";
}

// Up to and with Slurm's group of the whole job; empty where it has none.
std::string GroupOfSlurmJob(const std::string& group, const std::string& job) {
  if (job.empty()) return "";
  fs::path path;
  for (const fs::path& name : fs::path(group)) {
    path /= name;
    if (name == "job_" + job) return path;
  }
  return "";
}

bool IsAlone(const fs::path& group, int64_t pid) {
  if (ReadOrNothing(group / "cgroup.procs") != std::to_string(pid) + "\n") return false;
  std::error_code error;
  for (fs::directory_iterator entry(group, error), end; !error && entry != end;
       entry.increment(error)) {
    if (!entry->is_directory(error)) continue;
    if (ValueOf(ReadOrNothing(entry->path() / "cgroup.events"), "populated").value_or(1) != 0)
      return false;
  }
  return !error;
}

}  // namespace

CgroupMemory::CgroupMemory(Options options) : root_(std::move(options.root)) {
  const std::string own = GroupIn(ReadOrNothing(options.membership));
  if (own.empty()) return;
  const int64_t pid = options.pid != 0 ? options.pid : ::getpid();
  group_ = GroupOfSlurmJob(own, options.slurm_job);
  if (group_.empty() && IsAlone(root_ / own.substr(1), pid)) group_ = own;
  before_ = Count();
}

int64_t CgroupMemory::OomKilled() const {
  return Count() - before_;
}

int64_t CgroupMemory::Count() const {
  if (group_.empty()) return 0;
  // With that of the groups below it.
  return ValueOf(ReadOrNothing(root_ / group_.substr(1) / "memory.events"), "oom_kill").value_or(0);
}

}  // namespace syncbn::coordinator
