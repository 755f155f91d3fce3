// Memory, copies and order of the CUDA back end's streams, on the emulated device.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "backend/cuda/cuda_backend.h"
#include "backend/out_of_device_memory.h"
#include "base/error.h"
#include "tests/backend/support.h"
#include "tests/emulation/runtime.h"

namespace syncbn::backend {
namespace {

class CudaStreamTest : public ::testing::Test {
 protected:
  CudaStreamTest()
      : backend_(cuda::MakeBackend()), a_(backend_->MakeExecutor()), b_(backend_->MakeExecutor()) {
    emulation::SetDelays({.share = 0.5, .microseconds = 1000});
  }
  ~CudaStreamTest() override { emulation::SetDelays({}); }

  const std::unique_ptr<Backend> backend_;
  std::unique_ptr<Executor> a_, b_;
};

Tensor Constant(float value, int64_t elements) {
  Tensor x(Shape{elements}, DType::kFloat32);
  std::ranges::fill(x.Span<float>(), value);
  return x;
}

TEST_F(CudaStreamTest, MemoryThatAnotherStreamStillUsesIsNotGivenOut) {
  constexpr int64_t kElements = 1000;
  for (int round = 0; round < 20; ++round) {
    Tensor x = a_->ToDevice(Constant(static_cast<float>(round), kElements), DType::kFloat32);
    b_->WaitFor(a_->Record());
    // b uses x late; x is gone before, and a is given the next block at once.
    Tensor sum = b_->ToDevice(Constant(1, kElements), DType::kFloat32);
    sum = b_->Add(std::move(sum), x);
    x = Tensor();
    Tensor other = a_->New({kElements}, DType::kFloat32);
    a_->Fill(other, -1);
    EXPECT_TRUE(SameBits(sum.OnHost(), Constant(static_cast<float>(round) + 1, kElements)));
  }
}

// Whether activations are written over their input.
bool AddsInPlace(Executor& executor, Tensor x) {
  const std::byte* const before = x.DeviceAddress();
  const Tensor other = executor.NewZeros(x.shape(), x.dtype());
  return executor.Add(std::move(x), other).DeviceAddress() == before;
}

TEST_F(CudaStreamTest, WhatAnotherStreamMayStillReadIsNotOverwritten) {
  Tensor mine = a_->NewZeros({1000}, DType::kFloat32);
  EXPECT_TRUE(AddsInPlace(*a_, std::move(mine)));
  Tensor of_another = b_->NewZeros({1000}, DType::kFloat32);
  a_->WaitFor(b_->Record());
  EXPECT_FALSE(AddsInPlace(*a_, std::move(of_another))) << "its home is the other stream";
  Tensor read = a_->NewZeros({1000}, DType::kFloat32);
  b_->WaitFor(a_->Record());
  b_->Clone(read);
  EXPECT_FALSE(AddsInPlace(*a_, std::move(read))) << "another stream has been told to read it";
  Tensor shared = a_->NewZeros({1000}, DType::kFloat32);
  EXPECT_FALSE(AddsInPlace(*a_, shared)) << "its caller has it still";
}

TEST_F(CudaStreamTest, AViewIsOfItsBlock) {
  constexpr int64_t kElements = 1000;
  for (int round = 0; round < 20; ++round) {
    Tensor view;
    {
      Tensor x = a_->New({2, kElements}, DType::kFloat32);
      a_->Fill(x, round);
      view = x.Rows(1, 2).Reshape({kElements});
    }
    b_->WaitFor(a_->Record());
    Tensor copy = b_->Clone(view);
    view = Tensor();
    Tensor other = a_->New({2, kElements}, DType::kFloat32);
    a_->Fill(other, -1);
    EXPECT_TRUE(SameBits(copy.OnHost(), Constant(static_cast<float>(round), kElements)));
  }
}

TEST_F(CudaStreamTest, ASourceOnTheHostMayChangeOnceCopyHasReturned) {
  Tensor source = a_->NewOnHost({1000}, DType::kFloat32);
  Tensor target = a_->New({1000}, DType::kFloat32);
  for (int round = 0; round < 20; ++round) {
    std::ranges::fill(source.Span<float>(), static_cast<float>(round));
    a_->Copy(source, target);
    std::ranges::fill(source.Span<float>(), -1.0F);
    EXPECT_TRUE(SameBits(target.OnHost(), Constant(static_cast<float>(round), 1000)));
  }
}

TEST_F(CudaStreamTest, WhatIsUploadedIsHeldUntilTheDeviceHasReadIt) {
  for (int round = 0; round < 20; ++round) {
    const int64_t before = emulation::HostSynchronizations();
    Tensor source = a_->NewOnHost({1000}, DType::kFloat32);
    std::ranges::fill(source.Span<float>(), static_cast<float>(round));
    const Tensor there = a_->Upload(source);
    source = Tensor();
    // Would be the same memory, and be overwritten before it is read.
    Tensor next = a_->NewOnHost({1000}, DType::kFloat32);
    std::ranges::fill(next.Span<float>(), -1.0F);
    EXPECT_EQ(emulation::HostSynchronizations(), before);
    EXPECT_TRUE(SameBits(there.OnHost(), Constant(static_cast<float>(round), 1000)));
    EXPECT_TRUE(SameBits(a_->Upload(there).OnHost(), there.OnHost()));
  }
}

#ifndef __SANITIZE_THREAD__
TEST_F(CudaStreamTest, WhatIsUploadedIsNotCopiedBefore) {
  int wrong = 0;
  for (int round = 0; round < 20; ++round) {
    Tensor source = a_->NewOnHost({1000}, DType::kFloat32);
    std::ranges::fill(source.Span<float>(), static_cast<float>(round));
    const Tensor there = a_->Upload(source);
    std::ranges::fill(source.Span<float>(), -1.0F);  // which nobody may
    wrong += !SameBits(there.OnHost(), Constant(static_cast<float>(round), 1000));
  }
  EXPECT_GT(wrong, 0);
}
#endif

TEST_F(CudaStreamTest, ACopyStreamRunsBesideExecutors) {
  const std::unique_ptr<Stream> copies = backend_->MakeCopyStream();
  for (int round = 0; round < 20; ++round) {
    Tensor source = copies->NewOnHost({1000}, DType::kFloat32);
    std::ranges::fill(source.Span<float>(), static_cast<float>(round));
    Tensor there = copies->Upload(source);
    a_->WaitFor(copies->Record());
    Tensor sum = a_->Add(a_->NewZeros({1000}, DType::kFloat32), there);
    there = Tensor();
    // Its next block is not that which the executor still reads.
    Tensor next = copies->New({1000}, DType::kFloat32);
    copies->Fill(next, -1);
    EXPECT_TRUE(SameBits(sum.OnHost(), Constant(static_cast<float>(round), 1000)));
  }
}

TEST_F(CudaStreamTest, ATargetOnTheHostIsCompleteBehindAnEvent) {
  for (int round = 0; round < 20; ++round) {
    Tensor x = a_->New({1000}, DType::kFloat32);
    a_->Fill(x, round);
    Tensor target = a_->NewOnHost({1000}, DType::kFloat32);
    const int64_t before = emulation::HostSynchronizations();
    a_->Copy(x, target);
    const Event done = a_->Record();
    EXPECT_EQ(emulation::HostSynchronizations(), before);
    done.WaitOnHost();
    EXPECT_TRUE(done.Complete());
    EXPECT_TRUE(SameBits(target, Constant(static_cast<float>(round), 1000)));
  }
}

TEST_F(CudaStreamTest, ATargetOnTheHostMayBeGivenUpBeforeItIsThere) {
  for (int round = 0; round < 20; ++round) {
    Tensor x = a_->New({1000}, DType::kFloat32);
    a_->Fill(x, 1);
    {
      Tensor target = a_->NewOnHost({1000}, DType::kFloat32);
      a_->Copy(x, target);
    }
    // Would be the same memory, and be overwritten by the copy.
    Tensor next = a_->NewOnHost({1000}, DType::kFloat32);
    std::ranges::fill(next.Span<float>(), 2.0F);
    a_->Synchronize();
    EXPECT_TRUE(SameBits(next, Constant(2, 1000)));
  }
}

TEST_F(CudaStreamTest, AllMemoryIsGivenBack) {
  const int64_t before = emulation::BlocksInUse();
  {
    Tensor x = a_->New({1000}, DType::kFloat32), y = b_->New({1000}, DType::kFloat64);
    EXPECT_EQ(a_->Memory().in_use, 4096U);
    EXPECT_EQ(b_->Memory().in_use, 8192U);
    a_->Zero(x);
    b_->Fill(y, 2);
    std::thread([x = std::move(x)] {}).join();  // given back by another thread
  }
  EXPECT_EQ(a_->Memory().in_use, 0U);
  EXPECT_EQ(a_->Memory().peak, 4096U);
  a_->Synchronize();
  b_->Synchronize();
  EXPECT_EQ(emulation::BlocksInUse(), before);
}

TEST_F(CudaStreamTest, OutOfMemorySaysWhatIsWantedAndHeld) {
  Tensor x = a_->New({1 << 20}, DType::kFloat32);
  try {
    a_->New({int64_t{1} << 32}, DType::kFloat32);
    FAIL() << "16 GiB on a device of 4";
  } catch (const OutOfDeviceMemory& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
    EXPECT_EQ(error.available(), size_t{4} << 30);
    EXPECT_EQ(std::string(error.message()),
              "cuda:0: out of memory: 16384 MiB more wanted by a replica's workspace that holds 4 "
              "MiB; of the device's 4096 MiB, 4092 MiB are free and 4 MiB are this process's: "
              "replica's workspace 4 MiB (at most 4 MiB)");
  }
}

TEST_F(CudaStreamTest, MemoryThatIsStillBeingGivenBackIsWaitedFor) {
  const int64_t before = emulation::HostSynchronizations();
  emulation::SetDeviceBytes(size_t{96} << 20);
  for (int round = 0; round < 3; ++round) {
    Tensor x = a_->New({64 << 20}, DType::kUint8);
    a_->Zero(x);
    x = Tensor();
    x = b_->New({64 << 20}, DType::kUint8);
    b_->Zero(x);
  }
  emulation::SetDeviceBytes(size_t{4} << 30);
  EXPECT_GT(emulation::HostSynchronizations(), before);
}

// CUDA says so of an event in the same way as it says errors.
TEST_F(CudaStreamTest, WhatIsNotCompleteYetIsNoErrorOfTheNextOperation) {
  Tensor x = a_->New({4}, DType::kFloat32);
  emulation::HoldDevice(0);
  a_->Zero(x);
  const Event event = a_->Record();
  EXPECT_FALSE(event.Complete());
  EXPECT_NO_THROW(a_->Fill(x, 1));
  emulation::HoldDevice(-1);
  EXPECT_TRUE(SameBits(x.OnHost(), Constant(1, 4)));
}

TEST_F(CudaStreamTest, ATensorOfTheHostIsRefused) {
  Tensor x(Shape{4}, DType::kFloat32), y = a_->New({4}, DType::kFloat32);
  EXPECT_THROW(a_->Add(y, x), Error);
  EXPECT_THROW(y.Span<float>(), Error);
}

}  // namespace
}  // namespace syncbn::backend
