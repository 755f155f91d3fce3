// A program with the two subcommands that supervisors need, so that they can be tested as processes
// of their own without the rest of the product; and a rank that prints a file and then ends as it
// is told: print FILE [exit N | kill]; or that becomes another program: become.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/file.h"
#include "coordinator/launch/rank_relay.h"
#include "coordinator/launch/supervisor.h"

namespace {

int Print(int argc, char** argv) {
  const std::string text = syncbn::ReadFile(argv[2]);
  std::fputs("begins\n", stderr);
  for (size_t at = 0; at < text.size();) {
    const ssize_t count = ::write(STDOUT_FILENO, text.data() + at, text.size() - at);
    if (count <= 0) return 9;
    at += static_cast<size_t>(count);
  }
  if (argc > 3 && std::strcmp(argv[3], "kill") == 0) std::raise(SIGKILL);
  return argc > 4 ? std::atoi(argv[4]) : 0;
}

// Nothing is flushed.
int Speak() {
  std::printf("said by what the rank became\n");
  std::raise(SIGKILL);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace syncbn::coordinator;
  RelayOutputIfWanted();
  try {
    if (argc >= 3 && std::strcmp(argv[1], "print") == 0) return Print(argc, argv);
    if (argc == 2 && std::strcmp(argv[1], "become") == 0)
      return ::execl("/proc/self/exe", argv[0], "speak", nullptr);
    if (argc == 2 && std::strcmp(argv[1], "speak") == 0) return Speak();
    if (argc >= 2 && std::strcmp(argv[1], "supervise") == 0) {
      SupervisorOptions options;
      for (int i = 2; i < argc; ++i) {
        if (std::strcmp(argv[i], "--foreground") == 0) options.detach = false;
        if (std::strcmp(argv[i], "--folder") == 0 && i + 1 < argc) options.folder = argv[++i];
      }
      return RunSupervisor(options);
    }
    if (argc >= 2 && std::strcmp(argv[1], "sweep") == 0) {
      SweepOptions options;
      for (int i = 2; i < argc; ++i) {
        if (std::strcmp(argv[i], "--terminate") == 0) options.terminate = true;
        if (std::strcmp(argv[i], "--look") == 0) options.look = true;
        if (std::strcmp(argv[i], "--marker") == 0 && i + 1 < argc) options.marker = argv[++i];
        if (std::strcmp(argv[i], "--send-spool") == 0 && i + 1 < argc) options.send_spool = argv[++i];
        if (std::strcmp(argv[i], "--drop-spool") == 0 && i + 1 < argc) options.drop_spool = argv[++i];
        if (std::strcmp(argv[i], "--home") == 0 && i + 1 < argc) options.home = argv[++i];
      }
      return RunSweep(options);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  std::fprintf(stderr, "usage: %s supervise|sweep ...\n", argv[0]);
  return 2;
}
