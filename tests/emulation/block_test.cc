// Kernels that are right run; each kind of mistake is found, whatever the order in which threads
// run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernel_language.h"

namespace syncbn::emulation {
namespace {

using namespace backend::cuda;  // NOLINT: what kernels are written in

using ::testing::HasSubstr;

template <typename Kernel>
Traffic RunBlocks(const Kernel& kernel, int64_t blocks, int threads, uint64_t seed = 1) {
  return RunGrid(
      {.name = "test", .blocks = blocks, .threads = threads, .cooperative = Kernel::kCooperative},
      [kernel] { kernel(); }, seed);
}

// What the kernel fails with, in each of ten orders; empty: it does not.
template <typename Kernel>
std::string Fault(const Kernel& kernel, int threads = 64) {
  std::string text;
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    try {
      RunBlocks(kernel, 1, threads, seed);
      return "";
    } catch (const KernelFault& fault) {
      text = fault.what();
    }
  }
  return text;
}

struct Reverse {
  static constexpr bool kCooperative = true;
  const float* from;
  float* to;
  bool barrier = true;
  void operator()() const {
    SYNCBN_SHARED(float, values, 64);
    values[Thread()] = Load(from + GlobalThread());
    if (barrier) Barrier();
    Store(to + GlobalThread(), static_cast<float>(values[Threads() - 1 - Thread()]));
  }
};

TEST(Block, ThreadsExchangeThroughSharedMemory) {
  std::vector<float> from(192), to(192);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i);
  const Traffic traffic = RunBlocks(Reverse{from.data(), to.data()}, 3, 64);
  for (size_t i = 0; i < to.size(); ++i) EXPECT_EQ(to[i], from[i / 64 * 64 + 63 - i % 64]);
  EXPECT_EQ(traffic.loaded, 192 * 4);
  EXPECT_EQ(traffic.stored, 192 * 4);
}

TEST(Block, AMissingBarrierIsFound) {
  std::vector<float> from(64), to(64);
  EXPECT_THAT(Fault(Reverse{from.data(), to.data(), false}), HasSubstr("since the last barrier"));
}

struct WarpSum {
  static constexpr bool kCooperative = true;
  double* sums;
  void operator()() const {
    double sum = Thread();
    for (int delta = 16; delta > 0; delta /= 2) sum += ShuffleDown(sum, delta);
    const double first = ShuffleFrom(sum, 0);
    const double pairs = ShuffleXor(first, 1);
    if (Lane() == 0) Store(sums + Warp(), pairs);
  }
};

TEST(Block, LanesOfAWarpExchange) {
  std::vector<double> sums(4);
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    sums.assign(4, 0);
    RunBlocks(WarpSum{sums.data()}, 1, 128, seed);
    for (int warp = 0; warp < 4; ++warp) {
      EXPECT_EQ(sums[static_cast<size_t>(warp)], 32 * 32 * warp + 31 * 16) << "seed " << seed;
    }
  }
}

// A kernel that does what `mistake` does.
template <typename Mistake>
struct Wrong {
  static constexpr bool kCooperative = true;
  Mistake mistake;
  void operator()() const { mistake(); }
};
template <typename Mistake>
std::string FaultOf(const Mistake& mistake) {
  return Fault(Wrong<Mistake>{mistake});
}

TEST(Block, WritesOverWhatOthersHaveReadOrWrittenAreFound) {
  EXPECT_THAT(FaultOf([] {
                SYNCBN_SHARED(float, values, 2);
                values[0] = 1.0F;
              }),
              HasSubstr("writes over what another has written"));
  EXPECT_THAT(FaultOf([] {
                SYNCBN_SHARED(float, values, 65);
                values[Thread()] = 1.0F;
                Barrier();
                const float next = values[(Thread() + 1) % 64];
                values[Thread()] = next;
              }),
              HasSubstr("since the last barrier"));
}

TEST(Block, ElementsBeyondSharedMemoryAreFound) {
  EXPECT_THAT(FaultOf([] {
                SYNCBN_SHARED(float, values, 63);
                values[Thread()] = 1.0F;
              }),
              HasSubstr("element 63 of 63 in shared memory"));
}

TEST(Block, BarriersAndShufflesThatNotAllReachAreFound) {
  EXPECT_THAT(FaultOf([] {
                if (Thread() != 5) Barrier();
              }),
              HasSubstr("63 threads wait at a barrier, and 1 are over without it"));
  EXPECT_THAT(FaultOf([] {
                if (Thread() != 5) ShuffleDown(1, 1);
              }),
              HasSubstr("wait in a shuffle that not all of their warp reach"));
  EXPECT_THAT(FaultOf([] {
                if (Thread() < 5) {
                  Barrier();
                } else {
                  ShuffleDown(1, 1);
                }
              }),
              HasSubstr("wait in a shuffle that not all of their warp reach"));
}

TEST(Block, WideAccessesMustBeAligned) {
  alignas(16) float values[8] = {};
  EXPECT_THAT(FaultOf([&values] { LoadVector<4>(values + 1); }), HasSubstr("no multiple of it"));
  EXPECT_EQ(FaultOf([&values] { LoadVector<4>(values + 4); }), "");
}

struct SecretBarrier {
  static constexpr bool kCooperative = false;
  void operator()() const { Barrier(); }
};

TEST(Block, AKernelThatIsNotCooperativeHasNoBarrier) {
  EXPECT_THAT(Fault(SecretBarrier{}), HasSubstr("says it is not cooperative"));
}

TEST(Block, AFaultNamesKernelBlockAndThread) {
  EXPECT_THAT(FaultOf([] {
                if (Thread() == 7) throw KernelFault("planted");
                Barrier();
              }),
              HasSubstr("kernel test, block 0 of 1, thread 7 of 64: planted"));
}

}  // namespace
}  // namespace syncbn::emulation
