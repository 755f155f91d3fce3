// Streams are late, and what is not ordered shows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "kernel_language.h"
#include "tests/emulation/runtime.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace syncbn::emulation {
namespace {

using namespace backend::cuda;  // NOLINT: what kernels are written in

using ::testing::HasSubstr;

class RuntimeTest : public ::testing::Test {
 protected:
  RuntimeTest() {
    SetDelays({.share = 1, .microseconds = 2000});
    for (cudaStream_t& stream : streams_) cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  }
  ~RuntimeTest() override {
    if (busy_ != nullptr) cudaFreeAsync(busy_, streams_[0]);
    cudaDeviceSynchronize();
    for (cudaStream_t stream : streams_) cudaStreamDestroy(stream);
    SetDelays({});
    ForgetFault();
  }
  float* Allocate(int64_t elements) {
    void* memory = nullptr;
    EXPECT_EQ(cudaMallocAsync(&memory, static_cast<size_t>(elements) * sizeof(float), streams_[0]),
              cudaSuccess);
    return static_cast<float*>(memory);
  }
  float* Busy() {
    if (busy_ == nullptr) busy_ = Allocate(1);
    return busy_;
  }
  std::vector<float> Read(const float* memory, int64_t elements) {
    std::vector<float> values(static_cast<size_t>(elements));
    cudaDeviceSynchronize();
    cudaMemcpy(values.data(), memory, values.size() * sizeof(float), cudaMemcpyDeviceToHost);
    return values;
  }

  cudaStream_t streams_[2];
  float* busy_ = nullptr;
};

struct SetKernel {
  static constexpr bool kCooperative = false;
  float* x;
  float value;
  int64_t elements;
  void operator()() const {
    if (GlobalThread() < elements) Store(x + GlobalThread(), value);
  }
};
struct CopyKernel {
  static constexpr bool kCooperative = false;
  const float* from;
  float* to;
  int64_t elements;
  void operator()() const {
    if (GlobalThread() < elements) Store(to + GlobalThread(), Load(from + GlobalThread()));
  }
};
constexpr int64_t kElements = 4096;

void Set(cudaStream_t stream, float* x, float value) {
  Launch(stream, {.name = "set", .blocks = kElements / 256, .bytes = kElements * 4},
         SetKernel{x, value, kElements});
}
void Copy(cudaStream_t stream, const float* from, float* to) {
  Launch(stream, {.name = "copy", .blocks = kElements / 256, .bytes = kElements * 8},
         CopyKernel{from, to, kElements});
}

TEST_F(RuntimeTest, AnEventOrdersTwoStreamsAndItsLackShows) {
  float *a = Allocate(kElements), *b = Allocate(kElements);
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  int wrong_with = 0, wrong_without = 0;
  for (int i = 0; i < 10; ++i) {
    const float value = static_cast<float>(i + 1);
    for (const bool ordered : {true, false}) {
      Set(streams_[0], a, 0);
      cudaDeviceSynchronize();
      Set(streams_[0], a, value);
      cudaEventRecord(event, streams_[0]);
      if (ordered) cudaStreamWaitEvent(streams_[1], event, 0);
      Copy(streams_[1], a, b);
      if (Read(b, kElements).back() != value) ++(ordered ? wrong_with : wrong_without);
    }
  }
  EXPECT_EQ(wrong_with, 0);
#ifndef __SANITIZE_THREAD__
  EXPECT_GT(wrong_without, 0);
#endif
  cudaEventDestroy(event);
  cudaFreeAsync(a, streams_[0]);
  cudaFreeAsync(b, streams_[0]);
}

TEST_F(RuntimeTest, ABlockIsThereWhenItsStreamHasComeToIt) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "it is a race, and would be reported as one";
#endif
  bool found = false;
  for (int i = 0; i < 20 && !found; ++i) {
    for (int k = 0; k < 20; ++k) cudaMemsetAsync(Busy(), 0, sizeof(float), streams_[0]);
    float* a = Allocate(kElements);
#ifdef __SANITIZE_ADDRESS__
    EXPECT_TRUE(__asan_address_is_poisoned(a));
    found = true;
#else
    Set(streams_[1], a, 1);  // without an event of streams_[0]
#endif
    cudaDeviceSynchronize();
    found = found || !FirstFault().empty();
    ForgetFault();
    cudaFreeAsync(a, streams_[0]);
    cudaDeviceSynchronize();
  }
  EXPECT_TRUE(found);
}

TEST_F(RuntimeTest, ABlockIsThereForAnotherStreamBehindAnEvent) {
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  for (int i = 0; i < 20; ++i) {
    float* a = Allocate(kElements);
    cudaEventRecord(event, streams_[0]);
    cudaStreamWaitEvent(streams_[1], event, 0);
    Set(streams_[1], a, 1);
    EXPECT_EQ(Read(a, kElements).back(), 1);
    cudaFreeAsync(a, streams_[1]);
  }
  EXPECT_EQ(FirstFault(), "");
  cudaEventDestroy(event);
}

TEST_F(RuntimeTest, AStreamThatIsDestroyedStillDoesWhatItWasGiven) {
  float* a = Allocate(kElements);
  cudaDeviceSynchronize();
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  cudaEvent_t done = nullptr;
  cudaEventCreateWithFlags(&done, cudaEventDisableTiming);
  for (int i = 0; i < 50; ++i) Set(stream, a, static_cast<float>(i));
  cudaEventRecord(done, stream);
  const int64_t before = HostSynchronizations();
  cudaStreamDestroy(stream);
  EXPECT_EQ(cudaEventQuery(done), cudaErrorNotReady) << "it has waited";
  EXPECT_EQ(HostSynchronizations(), before);
  EXPECT_EQ(Read(a, kElements).back(), 49);
  cudaEventDestroy(done);
  cudaFreeAsync(a, streams_[0]);
}

TEST_F(RuntimeTest, WhatIsFreedIsPoisoned) {
  float *a = Allocate(kElements), *b = Allocate(kElements);
  Set(streams_[0], a, 1);
  cudaFreeAsync(a, streams_[0]);
  cudaDeviceSynchronize();
#ifndef __SANITIZE_ADDRESS__
  Copy(streams_[0], a, b);
  const std::vector<float> values = Read(b, kElements);
  EXPECT_NE(values[0], values[0]) << "read 1 from memory that is free";
#endif
  cudaFreeAsync(b, streams_[0]);
}

TEST_F(RuntimeTest, PinnedMemoryIsReadLateAndOtherMemoryStopsTheHost) {
  float* a = Allocate(1);
  cudaDeviceSynchronize();
  void* pinned = nullptr;
  cudaHostAlloc(&pinned, sizeof(float), cudaHostAllocDefault);
  cudaEvent_t go = nullptr;
  cudaEventCreateWithFlags(&go, cudaEventDisableTiming);
  // The first stream waits for the second, which is busy.
  for (int i = 0; i < 20; ++i) cudaMemsetAsync(a, 0, sizeof(float), streams_[1]);
  cudaEventRecord(go, streams_[1]);
  cudaStreamWaitEvent(streams_[0], go, 0);
  const int64_t before = HostSynchronizations();
  *static_cast<float*>(pinned) = 1;
  cudaMemcpyAsync(a, pinned, sizeof(float), cudaMemcpyHostToDevice, streams_[0]);
#ifndef __SANITIZE_THREAD__
  *static_cast<float*>(pinned) = 2;
#endif
  EXPECT_EQ(HostSynchronizations(), before);
#ifndef __SANITIZE_THREAD__
  EXPECT_EQ(Read(a, 1)[0], 2);
#endif
  const int64_t then = HostSynchronizations();
  const float unpinned = 3;
  cudaMemcpyAsync(a, &unpinned, sizeof(float), cudaMemcpyHostToDevice, streams_[0]);
  EXPECT_EQ(HostSynchronizations(), then + 1);
  EXPECT_EQ(Read(a, 1)[0], 3);
  cudaFreeAsync(a, streams_[0]);
  cudaFreeHost(pinned);
  cudaEventDestroy(go);
}

TEST_F(RuntimeTest, AKernelThatMovesMoreThanItSaysFails) {
  float *a = Allocate(kElements), *b = Allocate(kElements);
  Set(streams_[0], a, 0);
  Launch(streams_[0], {.name = "copy", .blocks = kElements / 256, .bytes = kElements * 4},
         CopyKernel{a, b, kElements});
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  EXPECT_THAT(FirstFault(),
              HasSubstr("kernel copy moved 32768 bytes (16384 loaded), and says 16384"));
  // As on a device: nothing works any more.
  void* more = nullptr;
  EXPECT_EQ(cudaMallocAsync(&more, 1, streams_[0]), cudaErrorLaunchFailure);
  cudaFreeAsync(a, streams_[0]);
  cudaFreeAsync(b, streams_[0]);
}

struct SmallKernel {
  static constexpr bool kCooperative = false;
  static constexpr int kMostThreads = 64;
  void operator()() const {}
};

TEST_F(RuntimeTest, AKernelIsNotLaunchedWithMoreThreadsThanItSays) {
  EXPECT_NO_THROW(
      Launch(streams_[0], {.name = "small", .blocks = 1, .threads = 64}, SmallKernel{}));
  EXPECT_THROW(Launch(streams_[0], {.name = "small", .blocks = 1, .threads = 96}, SmallKernel{}),
               std::length_error);
}

#ifndef __SANITIZE_ADDRESS__
TEST_F(RuntimeTest, AWriteBeyondABlockIsFoundWhenItIsFreed) {
  float* a = Allocate(kElements - 1);
  Set(streams_[0], a, 0);
  cudaFreeAsync(a, streams_[0]);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  EXPECT_THAT(FirstFault(), HasSubstr("was written beyond its ends"));
}
#endif

}  // namespace
}  // namespace syncbn::emulation
