// Linked into sanitized programs that tests run as processes of their own.
#include <cstdlib>
#include <initializer_list>

// Open MPI never frees some of what it allocates, in libraries that it has unloaded again by the end,
// so that no list of names could leave it out. What syncbn leaks is reported by the tests that run
// without MPI.
extern "C" int __lsan_is_turned_off() {
  // Started by mpirun, or by srun.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK"}) {
    if (std::getenv(name) != nullptr) return 1;
  }
  return 0;
}

// Tests preload libraries (pace.cc, crash_at.cc) that are then loaded before the sanitizer's own.
extern "C" const char* __asan_default_options() {
  return "verify_asan_link_order=0";
}
