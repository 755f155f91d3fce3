// A program with the two subcommands that supervisors need, so that they can be tested as processes
// of their own without the rest of the product.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "coordinator/launch/supervisor.h"

int main(int argc, char** argv) {
  using namespace syncbn::coordinator;
  try {
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
