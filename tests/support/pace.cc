// A library to be preloaded into a run under test: whoever writes metrics.jsonl rests at its lines, so
// that so many steps last so long on any machine, and a test has the time to do to a run what it wants
// to do. SYNCBN_TEST_PACE names a file that says when and how long, as it is at each line:
// "FROM MILLISECONDS", from the line of that number of this process on.
#include <dlfcn.h>
#include <fcntl.h>
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

void Rest(const char* pace_file) {
  static long lines = 0;
  ++lines;
  char text[64];
  const int file = ::open(pace_file, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  const ssize_t length = ::read(file, text, sizeof text - 1);
  ::close(file);
  if (length <= 0) return;
  text[length] = '\0';
  long from = 0, milliseconds = 0;
  if (::sscanf(text, "%ld %ld", &from, &milliseconds) != 2 || lines < from) return;
  ::usleep(static_cast<useconds_t>(milliseconds) * 1000);
}

}  // namespace

extern "C" ssize_t write(int file, const void* bytes, size_t count) {
  static auto* next = reinterpret_cast<ssize_t (*)(int, const void*, size_t)>(
      ::dlsym(RTLD_NEXT, "write"));
  static const char* pace_file = ::getenv("SYNCBN_TEST_PACE");
  const ssize_t written = next(file, bytes, count);
  if (pace_file != nullptr && IsMetricsFile(file)) Rest(pace_file);
  return written;
}
