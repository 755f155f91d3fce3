// A block of threads on the CPU: its threads are fibers of one thread, resumed in a random order
// between barriers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>

namespace syncbn::emulation {

inline constexpr int kWarp = 32;

// What a kernel does wrong: the stream on which it ran fails with it, as a device does with an
// illegal access.
class KernelFault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct ThreadPlace {
  int thread = 0, threads = 0;
  int64_t block = 0, blocks = 0;
};
// What was moved to and from memory of the device.
struct Traffic {
  int64_t loaded = 0, stored = 0;
};

// -- Within a kernel
// ------------------------------------------------------------------------------------------
inline thread_local ThreadPlace current_thread;
inline thread_local Traffic current_traffic;
inline const ThreadPlace& CurrentThread() {
  return current_thread;
}
inline Traffic& CurrentTraffic() {
  return current_traffic;
}
// Throw KernelFault where the kernel said that it is not cooperative.
void Barrier();
uint64_t Shuffle(uint64_t value, int from_lane);
// Bytes of the block that the threads which ask for the same place share; 0xFF before they are
// written.
std::byte* SharedBytes(const void* place, size_t bytes);
// Barriers that the block is behind.
uint32_t BarriersPassed();
void CheckAligned(const void* address, size_t bytes);

// -- Running one
// ------------------------------------------------------------------------------------------------
struct Grid {
  const char* name = "";
  int64_t blocks = 0;
  int threads = 0;
  int64_t bytes = 0;
  bool cooperative = false;
};
// All blocks in a random order that follows from `seed`, on this thread. Returns what was moved.
// Throws KernelFault, naming kernel, block and thread.
Traffic RunGrid(const Grid& grid, const std::function<void()>& kernel, uint64_t seed);

}  // namespace syncbn::emulation
