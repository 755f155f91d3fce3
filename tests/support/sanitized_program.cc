// Linked into sanitized programs that tests run as processes of their own.
#include <cstdlib>

// Open MPI never frees some of what it allocates, in libraries that it has unloaded again by the end,
// so that no list of names could leave it out. What syncbn leaks is reported by the tests that run
// without MPI.
extern "C" int __lsan_is_turned_off() {
  return std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr ? 1 : 0;
}

// Tests preload libraries (pace.cc, crash_at.cc) that are then loaded before the sanitizer's own.
extern "C" const char* __asan_default_options() {
  return "verify_asan_link_order=0";
}
