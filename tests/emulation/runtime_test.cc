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
  const int64_t before = HostSynchronizations(), uploaded = BytesUploaded();
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
  EXPECT_EQ(BytesUploaded() - uploaded, 8);
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

TEST_F(RuntimeTest, AKernelOfFewElementsThatMovesMoreThanItSaysFails) {
  float *a = Allocate(64), *b = Allocate(64);
  Launch(streams_[0], {.name = "set", .blocks = 1, .bytes = 256}, SetKernel{a, 0, 64});
  Launch(streams_[0], {.name = "copy", .blocks = 1, .bytes = 256}, CopyKernel{a, b, 64});
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  EXPECT_THAT(FirstFault(), HasSubstr("kernel copy moved 512 bytes (256 loaded), and says 256"));
  cudaFreeAsync(a, streams_[0]);
  cudaFreeAsync(b, streams_[0]);
}

// y = x for rows of `channels`, as if four channels were one access. What is left over of a row is
// forgotten (kDone = 0), right (1), or taken for four more (2).
template <int kDone>
struct TailKernel {
  static constexpr bool kCooperative = false;
  const float* x;
  float* y;
  int64_t rows, channels;
  void operator()() const {
    if (GlobalThread() >= rows) return;
    const int64_t whole = channels / 4 * 4, begin = GlobalThread() * channels;
    const int64_t end = kDone == 0 ? whole : kDone == 1 ? channels : whole + 4;
    for (int64_t c = 0; c < end; ++c) Store(y + begin + c, Load(x + begin + c));
  }
};

// What a kernel gives that treats the last channels of 65 wrongly: the elements that differ, or the
// fault.
template <int kDone>
std::string WrongWith65Channels(cudaStream_t stream, const float* x, float* y, int64_t rows) {
  Launch(stream, {.name = "tail", .blocks = 1, .bytes = rows * 65 * 8},
         TailKernel<kDone>{x, y, rows, 65});
  std::vector<float> got(static_cast<size_t>(rows * 65));
  cudaDeviceSynchronize();
  cudaMemcpy(got.data(), y, got.size() * sizeof(float), cudaMemcpyDeviceToHost);
  int64_t wrong = 0;
  for (const float value : got) wrong += value != 1;
  return wrong == 0 ? "" : std::to_string(wrong) + " elements";
}

TEST_F(RuntimeTest, AWrongTailOf65ChannelsIsFound) {
  constexpr int64_t kRows = 20;
  float* const x = Allocate(4 * kRows * 65);
  Launch(streams_[0],
         {.name = "set", .blocks = 4 * kRows * 65 / 256 + 1, .bytes = 4 * kRows * 65 * 4},
         SetKernel{x, 1, 4 * kRows * 65});
  float* y = Allocate(kRows * 65);
  EXPECT_EQ(WrongWith65Channels<1>(streams_[0], x, y, kRows), "");
  cudaFreeAsync(y, streams_[0]);
  // What was not written reads as NaN, also where another result has been there before.
  y = Allocate(kRows * 65);
  EXPECT_EQ(WrongWith65Channels<0>(streams_[0], x, y, kRows), "20 elements");
  cudaFreeAsync(y, streams_[0]);
  EXPECT_EQ(FirstFault(), "");
#ifndef __SANITIZE_ADDRESS__
  // Each row writes what the next one writes again; the last one goes beyond the block.
  y = Allocate(kRows * 65);
  WrongWith65Channels<2>(streams_[0], x, y, kRows);
  cudaFreeAsync(y, streams_[0]);
  cudaDeviceSynchronize();
  EXPECT_THAT(FirstFault(), HasSubstr("was written beyond its ends"));
#endif
  cudaFreeAsync(x, streams_[0]);
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
