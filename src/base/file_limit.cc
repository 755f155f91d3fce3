#include "base/file_limit.h"

#include <sys/resource.h>

#include <algorithm>

#include "base/error.h"

namespace syncbn {
namespace {

rlimit FileLimit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) files = {RLIM_INFINITY, RLIM_INFINITY};
  return files;
}

}  // namespace

void RaiseFileLimit(uint64_t most) {
  rlimit files = FileLimit();
  const rlim_t wanted = std::min<rlim_t>(files.rlim_max, most);
  if (wanted <= files.rlim_cur) return;
  files.rlim_cur = wanted;
  ::setrlimit(RLIMIT_NOFILE, &files);
}

void RequireFiles(uint64_t least, const std::string& who) {
  RaiseFileLimit(least);
  const rlim_t limit = FileLimit().rlim_cur;
  if (limit >= least) return;
  throw Error(ErrorCode::kFailedPrecondition,
              who + " may have " + std::to_string(limit) + " files open, and needs " +
                  std::to_string(least) +
                  " at least: raise the limit where it is started ('ulimit -n 1024' in a shell, "
                  "LimitNOFILE=1024 in a unit of systemd, nofile in /etc/security/limits.conf)");
}

}  // namespace syncbn
