// A library to be preloaded into a job under test: its rank 0 rests SYNCBN_TEST_PACE milliseconds at
// every line of metrics.jsonl. So many steps then last so long on any machine, and a test has the
// time to do to a run what it wants to do.
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

namespace {

bool IsMetricsFile(int file) {
  char link[64], path[PATH_MAX];
  ::snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t length = ::readlink(link, path, sizeof path - 1);
  if (length <= 0) return false;
  path[length] = '\0';
  const char* name = ::strrchr(path, '/');
  return name != nullptr && ::strcmp(name, "/metrics.jsonl") == 0;
}

}  // namespace

extern "C" ssize_t write(int file, const void* bytes, size_t count) {
  static auto* next = reinterpret_cast<ssize_t (*)(int, const void*, size_t)>(
      ::dlsym(RTLD_NEXT, "write"));
  static const char* pace = ::getenv("SYNCBN_TEST_PACE");
  const ssize_t written = next(file, bytes, count);
  if (pace != nullptr && IsMetricsFile(file)) ::usleep(static_cast<useconds_t>(::atoi(pace)) * 1000);
  return written;
}
