#include "tests/emulation/block.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "tests/emulation/fiber.h"
#include "tests/emulation/shared_memory.h"

namespace syncbn::emulation {
namespace {

// Thrown through the threads of a block whose kernel has failed in another one.
struct Abandoned {};

enum class Waits { kNothing, kBarrier, kShuffle, kOver };

// The threads of one block. Kept from block to block, with the stacks of the fibers.
class BlockRunner {
 public:
  void Run(const Grid& grid, int64_t block, const std::function<void()>& kernel,
           std::mt19937_64& random) {
    Prepare(grid, block);
    std::vector<int>& ready = ready_;
    ready.resize(static_cast<size_t>(grid.threads));
    std::iota(ready.begin(), ready.end(), 0);
    for (int i = 0; i < grid.threads; ++i) {
      fibers_[static_cast<size_t>(i)]->Begin([this, &kernel] { RunThread(kernel); });
    }
    while (!ready.empty() || Release()) {
      std::swap(ready[random() % ready.size()], ready.back());
      const int next = ready.back();
      ready.pop_back();
      running_ = next;
      current_thread.thread = next;
      fibers_[static_cast<size_t>(next)]->Resume();
    }
    if (fault_ == nullptr) return;
    current_thread.thread = failed_;
    std::rethrow_exception(fault_);
  }

  void WaitAtBarrier() { Await(Waits::kBarrier); }
  uint64_t WaitForShuffle(uint64_t value, int from) {
    const int me = running_;
    WarpState& warp = warps_[static_cast<size_t>(me / kWarp)];
    const int lane = me % kWarp;
    // Two sets of values: the first lane may be at its next shuffle before the last has read those
    // of this one.
    const size_t set = static_cast<size_t>(shuffles_[static_cast<size_t>(me)]++ % 2);
    warp.values[set][static_cast<size_t>(lane)] = value;
    if (++warp.waiting == kWarp) {
      warp.waiting = 0;
      for (int i = 0; i < kWarp; ++i) {
        const int other = me - lane + i;
        if (other == me) continue;
        waits_[static_cast<size_t>(other)] = Waits::kNothing;
        ready_.push_back(other);
      }
    } else {
      Await(Waits::kShuffle);
    }
    return warp.values[set][static_cast<size_t>(from)];
  }
  uint32_t barriers() const { return barriers_; }
  std::byte* SharedBytes(const void* place, size_t bytes) {
    std::vector<std::byte>& memory = shared_[place];
    if (memory.empty()) {
      memory.assign(bytes, std::byte{0xFF});
    }
    if (memory.size() != bytes) throw KernelFault("shared memory of two sizes under one name");
    return memory.data();
  }

 private:
  struct WarpState {
    int waiting = 0;
    std::array<std::array<uint64_t, kWarp>, 2> values;
  };

  void Prepare(const Grid& grid, int64_t block) {
    const size_t threads = static_cast<size_t>(grid.threads);
    while (fibers_.size() < threads) fibers_.push_back(std::make_unique<Fiber>());
    waits_.assign(threads, Waits::kNothing);
    shuffles_.assign(threads, 0);
    warps_.assign(threads / kWarp, {});
    shared_.clear();
    fault_ = nullptr;
    barriers_ = 0;
    over_ = 0;
    current_thread = {.threads = grid.threads, .block = block, .blocks = grid.blocks};
  }

  // In a fiber.
  void RunThread(const std::function<void()>& kernel) {
    const int me = running_;
    try {
      if (fault_ == nullptr) kernel();
    } catch (const Abandoned&) {
    } catch (...) {
      if (fault_ == nullptr) fault_ = std::current_exception();
      failed_ = me;
    }
    waits_[static_cast<size_t>(me)] = Waits::kOver;
    ++over_;
  }
  void Await(Waits what) {
    const int me = running_;
    waits_[static_cast<size_t>(me)] = what;
    fibers_[static_cast<size_t>(me)]->GiveWay();
    if (fault_ != nullptr) throw Abandoned();
  }

  // Nobody can run: a barrier that all have reached, or a mistake. False: all are over.
  bool Release() {
    const int threads = static_cast<int>(waits_.size());
    if (over_ == threads) return false;
    if (fault_ == nullptr) {
      const auto count = [&](Waits what) { return std::ranges::count(waits_, what); };
      if (const auto in_shuffles = count(Waits::kShuffle); in_shuffles > 0) {
        const auto first = std::ranges::find(waits_, Waits::kShuffle) - waits_.begin();
        Fail("thread " + std::to_string(first) + " and " + std::to_string(in_shuffles - 1) +
             " others wait in a shuffle that not all of their warp reach");
      } else if (over_ > 0) {
        Fail(std::to_string(threads - over_) + " threads wait at a barrier, and " +
             std::to_string(over_) + " are over without it");
      }
    }
    ++barriers_;
    for (int i = 0; i < threads; ++i) {
      if (waits_[static_cast<size_t>(i)] == Waits::kOver) continue;
      waits_[static_cast<size_t>(i)] = Waits::kNothing;
      ready_.push_back(i);
    }
    return true;
  }
  void Fail(const std::string& what) { fault_ = std::make_exception_ptr(KernelFault(what)); }

  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Waits> waits_;
  std::vector<uint32_t> shuffles_;
  std::vector<WarpState> warps_;
  std::vector<int> ready_;
  std::map<const void*, std::vector<std::byte>> shared_;
  std::exception_ptr fault_;
  uint32_t barriers_ = 0;
  int over_ = 0, running_ = 0, failed_ = 0;
};

thread_local BlockRunner* running_block = nullptr;

BlockRunner& RunningBlock() {
  if (running_block == nullptr) {
    throw KernelFault(
        "a kernel that says it is not cooperative has a barrier, a shuffle or shared memory");
  }
  return *running_block;
}

// The threads of a block that know nothing of each other, in a random order.
void RunAlone(const Grid& grid, int64_t block, const std::function<void()>& kernel,
              std::mt19937_64& random) {
  current_thread = {.threads = grid.threads, .block = block, .blocks = grid.blocks};
  const int first = static_cast<int>(random() % static_cast<uint64_t>(grid.threads));
  const bool down = random() % 2 == 0;
  for (int i = 0; i < grid.threads; ++i) {
    current_thread.thread = (down ? first - i + grid.threads : first + i) % grid.threads;
    kernel();
  }
}

}  // namespace

void Barrier() {
  RunningBlock().WaitAtBarrier();
}
uint64_t Shuffle(uint64_t value, int from_lane) {
  return RunningBlock().WaitForShuffle(value, from_lane);
}
std::byte* SharedBytes(const void* place, size_t bytes) {
  return RunningBlock().SharedBytes(place, bytes);
}
uint32_t BarriersPassed() {
  return RunningBlock().barriers();
}

void CheckAligned(const void* address, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(address) % bytes == 0) return;
  throw KernelFault("an access of " + std::to_string(bytes) +
                    " bytes at an address that is no multiple of it");
}

void ThrowRace(const char* what, int64_t index, int other) {
  throw KernelFault("a race in shared memory: it " + std::string(what) +
                    " since the last barrier, element " + std::to_string(index) + ", " +
                    (other < 0 ? "several threads" : "thread " + std::to_string(other)));
}
void ThrowOutOfRange(int64_t index, int64_t count) {
  throw KernelFault("element " + std::to_string(index) + " of " + std::to_string(count) +
                    " in shared memory");
}

Traffic RunGrid(const Grid& grid, const std::function<void()>& kernel, uint64_t seed) {
  thread_local BlockRunner runner;
  std::mt19937_64 random(seed);
  current_traffic = {};
  const auto fail = [&](const std::string& what) {
    running_block = nullptr;
    return KernelFault("kernel " + std::string(grid.name) + ", block " +
                       std::to_string(current_thread.block) + " of " + std::to_string(grid.blocks) +
                       ", thread " + std::to_string(current_thread.thread) + " of " +
                       std::to_string(grid.threads) + ": " + what);
  };
  if (grid.threads < 1 || grid.threads > 1024 || (grid.cooperative && grid.threads % kWarp != 0)) {
    throw fail("so many threads cannot be a block");
  }
  running_block = grid.cooperative ? &runner : nullptr;
  const int64_t first = static_cast<int64_t>(random() % static_cast<uint64_t>(grid.blocks));
  try {
    for (int64_t i = 0; i < grid.blocks; ++i) {
      const int64_t block = (first + i) % grid.blocks;
      if (grid.cooperative) {
        runner.Run(grid, block, kernel, random);
      } else {
        RunAlone(grid, block, kernel, random);
      }
    }
  } catch (const KernelFault& fault) {
    throw fail(fault.what());
  }
  running_block = nullptr;
  return current_traffic;
}

}  // namespace syncbn::emulation
