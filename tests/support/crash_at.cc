// A library to be preloaded into a program under test: kills it with SIGKILL at a chosen moment.
//
//   SYNCBN_TEST_CRASH_IN=serve         only in a program with this first argument; others pass it on
//   SYNCBN_TEST_CRASH_AT=MOMENT        where
//   SYNCBN_TEST_CRASH_MARK=FILE        made at the crash; while it is there, nothing crashes
//
// MOMENT is CALL:N, CALL:N:after, CALL:TEXT or CALL:TEXT:after: just before, or just after, the N-th
// call of that name, or the first whose argument contains the text. Calls are those that leave
// something behind which outlives the process: `commit` (fdatasync, with which SQLite ends every
// transaction), `rename` (the new name of a file that is written whole), `spawn` (the program); and
// `read` (a file that is there was opened).
//
//   SYNCBN_TEST_CRASH_SINCE=TEXT       nothing counts before the first rename of such a file
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <string>

namespace {

struct Moment {
  bool active = false;
  bool after = false;
  std::string call, text, mark, since;
  std::atomic<bool> counts{false};
  long number = 0;  // 0: by text
  std::atomic<long> seen{0};
};

Moment& TheMoment() {
  static Moment moment;
  return moment;
}

std::string Variable(const char* name) {
  const char* value = ::getenv(name);
  return value == nullptr ? "" : value;
}

std::string FirstArgument() {
  char text[4096];
  const int file = ::open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  const ssize_t count = ::read(file, text, sizeof text - 1);
  ::close(file);
  if (count <= 0) return "";
  text[count] = '\0';
  const size_t program = ::strlen(text) + 1;
  return program < static_cast<size_t>(count) ? text + program : "";
}

__attribute__((constructor)) void Prepare() {
  if (FirstArgument() != Variable("SYNCBN_TEST_CRASH_IN")) return;
  // What this program starts is left alone.
  ::unsetenv("LD_PRELOAD");
  Moment& moment = TheMoment();
  std::string at = Variable("SYNCBN_TEST_CRASH_AT");
  if (at.size() > 6 && at.substr(at.size() - 6) == ":after") {
    moment.after = true;
    at.resize(at.size() - 6);
  }
  const size_t colon = at.find(':');
  if (colon == std::string::npos) return;
  moment.call = at.substr(0, colon);
  moment.text = at.substr(colon + 1);
  moment.number = ::atol(moment.text.c_str());
  moment.mark = Variable("SYNCBN_TEST_CRASH_MARK");
  moment.since = Variable("SYNCBN_TEST_CRASH_SINCE");
  moment.counts = moment.since.empty();
  moment.active = true;
}

// Whether this call is the moment.
bool IsIt(const char* call, const char* argument) {
  Moment& moment = TheMoment();
  if (!moment.active || !moment.counts || moment.call != call) return false;
  if (moment.number > 0) return ++moment.seen == moment.number;
  return ::strstr(argument, moment.text.c_str()) != nullptr && ++moment.seen == 1;
}

void CrashIf(bool now) {
  if (!now) return;
  const int mark = ::open(TheMoment().mark.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (mark < 0) return;
  ::kill(::getpid(), SIGKILL);
}

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

template <typename Call>
int Around(const char* call, const char* argument, const Call& body) {
  const bool now = IsIt(call, argument);
  const bool after = TheMoment().after;
  CrashIf(now && !after);
  const int result = body();
  CrashIf(now && after);
  return result;
}

}  // namespace

extern "C" {

int fdatasync(int file) {
  static auto* next = Next<int(int)>("fdatasync");
  return Around("commit", "", [&] { return next(file); });
}

int rename(const char* from, const char* to) noexcept {
  static auto* next = Next<int(const char*, const char*)>("rename");
  const int result = Around("rename", to, [&] { return next(from, to); });
  Moment& moment = TheMoment();
  if (moment.active && ::strstr(to, moment.since.c_str()) != nullptr) moment.counts = true;
  return result;
}

int open(const char* path, int flags, ...) {
  static auto* next = Next<int(const char*, int, ...)>("open");
  va_list more;
  va_start(more, flags);
  const int mode = (flags & O_CREAT) != 0 ? va_arg(more, int) : 0;
  va_end(more);
  const int file = next(path, flags, mode);
  if (file >= 0) CrashIf(IsIt("read", path));
  return file;
}

int posix_spawnp(pid_t* pid, const char* program, const posix_spawn_file_actions_t* actions,
                 const posix_spawnattr_t* attributes, char* const arguments[],
                 char* const environment[]) {
  static auto* next =
      Next<int(pid_t*, const char*, const posix_spawn_file_actions_t*, const posix_spawnattr_t*,
               char* const[], char* const[])>("posix_spawnp");
  return Around("spawn", program,
                [&] { return next(pid, program, actions, attributes, arguments, environment); });
}

}  // extern "C"
