// Mistakes in the use of NCCL that its double finds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nccl.h>

#include <functional>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "tests/emulation/runtime.h"

namespace syncbn::emulation {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr size_t kElements = 1024;

struct Rank {
  int number = 0;
  ncclComm_t comm = nullptr;
  cudaStream_t stream = nullptr;
  // Ones.
  float* a = nullptr;
  float* b = nullptr;

  void AllReduce(float* x) const {
    ncclAllReduce(x, x, kElements, ncclFloat32, ncclSum, comm, stream);
  }
  void AllGather(const float* from, float* to) const {
    ncclAllGather(from, to, kElements / 2, ncclFloat32, comm, stream);
  }
};

// The first mistake that two ranks make; empty: none. What they have launched is ended.
std::string FaultOf(const std::function<void(Rank&)>& body) {
  ncclUniqueId id{};
  ncclGetUniqueId(&id);
  std::latch launched(2);
  std::vector<std::jthread> threads;
  for (int number = 0; number < 2; ++number) {
    threads.emplace_back([&, number] {
      Rank rank{.number = number};
      cudaSetDevice(number);
      cudaStreamCreateWithFlags(&rank.stream, cudaStreamNonBlocking);
      for (float** x : {&rank.a, &rank.b}) {
        void* memory = nullptr;
        cudaMallocAsync(&memory, kElements * sizeof(float), rank.stream);
        cudaMemsetAsync(memory, 0, kElements * sizeof(float), rank.stream);
        *x = static_cast<float*>(memory);
      }
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.blocking = 1;
      ncclCommInitRankConfig(&rank.comm, 2, id, number, &config);
      body(rank);
      // Until both are done, or one has found something for which the other waits in vain.
      cudaEvent_t done = nullptr;
      cudaEventCreateWithFlags(&done, cudaEventDisableTiming);
      cudaEventRecord(done, rank.stream);
      while (FirstFault().empty() && cudaEventQuery(done) == cudaErrorNotReady) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      launched.arrive_and_wait();
      ncclCommAbort(rank.comm);
      for (float* x : {rank.a, rank.b}) {
        if (x != nullptr) cudaFreeAsync(x, rank.stream);
      }
      cudaDeviceSynchronize();
      cudaEventDestroy(done);
      cudaStreamDestroy(rank.stream);
    });
  }
  threads.clear();
  std::string fault = FirstFault();
  ForgetFault();
  return fault;
}

TEST(EmulatedNcclCalls, ThatAreRightAreNoMistake) {
  EXPECT_EQ(FaultOf([](Rank& rank) {
              rank.AllReduce(rank.a);
              rank.AllGather(rank.a, rank.b);
            }),
            "");
}

TEST(EmulatedNcclCalls, ABufferThatIsFreedBeforeTheCallIsFound) {
  EXPECT_THAT(FaultOf([](Rank& rank) {
                if (rank.number == 1) cudaFreeAsync(rank.a, rank.stream);
                rank.AllReduce(rank.a);
                if (rank.number == 1) rank.a = nullptr;
              }),
              HasSubstr("ncclAllReduce: its 4096 bytes are no device memory, or are free"));
}

TEST(EmulatedNcclCalls, MemoryOfTheHostIsFound) {
  std::vector<float> host(kElements);
  EXPECT_THAT(
      FaultOf([&](Rank& rank) { rank.AllGather(rank.number == 0 ? host.data() : rank.a, rank.b); }),
      HasSubstr("ncclAllGather: its 2048 bytes are no device memory, or are free"));
}

TEST(EmulatedNcclCalls, RanksThatLaunchInDifferentOrdersAreFound) {
  EXPECT_THAT(FaultOf([](Rank& rank) {
                if (rank.number == 0) rank.AllReduce(rank.a);
                rank.AllGather(rank.a, rank.b);
                if (rank.number == 1) rank.AllReduce(rank.a);
              }),
              AllOf(HasSubstr("all-reduce"), HasSubstr("all-gather")));
}

TEST(EmulatedNcclCalls, RanksThatCallWithDifferentSizesAreFound) {
  EXPECT_THAT(FaultOf([](Rank& rank) {
                ncclAllReduce(rank.a, rank.a, rank.number == 0 ? kElements : kElements / 2,
                              ncclFloat32, ncclSum, rank.comm, rank.stream);
              }),
              AllOf(HasSubstr("4096"), HasSubstr("2048")));
}

}  // namespace
}  // namespace syncbn::emulation
