#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/memory_pool.h"

namespace syncbn::backend::cpu {
namespace {

TEST(CpuMemoryPool, GivesTheSameMemoryAgain) {
  const auto pool = MemoryPool::Make();
  const void* first = pool->Take(1000).get();
  EXPECT_EQ(pool->Take(1000).get(), first);
  EXPECT_EQ(pool->Take(990).get(), first);  // of the same block size
  const auto held = pool->Take(1000);
  EXPECT_NE(pool->Take(1000), held);
}

TEST(CpuMemoryPool, BlocksAreAtMostAnEighthLargerThanAsked) {
  for (size_t bytes : {1, 63, 64, 65, 511, 512, 513, 1000, 4096, 4097, 123457, (1 << 24) + 1}) {
    const size_t size = MemoryPool::BlockSize(bytes);
    EXPECT_GE(size, bytes);
    EXPECT_LE(size, std::max<size_t>(bytes + 63, bytes + bytes / 8 + 1)) << bytes;
    EXPECT_EQ(size % 64, 0u) << bytes;
    EXPECT_EQ(MemoryPool::BlockSize(size), size) << bytes;
  }
}

TEST(CpuMemoryPool, IsAlignedToCacheLines) {
  const auto pool = MemoryPool::Make();
  for (size_t bytes : {0, 1, 100, 5000, 3 << 20}) {
    const auto block = pool->Take(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block.get()) % 64, 0u) << bytes;
  }
}

TEST(CpuMemoryPool, CountsWhatIsInUseAndItsPeak) {
  const auto pool = MemoryPool::Make();
  auto a = pool->Take(1 << 20);
  auto b = pool->Take(1 << 20);
  b = nullptr;
  EXPECT_EQ(pool->Use().in_use, size_t{1} << 20);
  EXPECT_EQ(pool->Use().peak, size_t{2} << 20);
  EXPECT_EQ(pool->Use().held, size_t{2} << 20);
  b = pool->Take(1 << 20);
  EXPECT_EQ(pool->Use().peak, size_t{2} << 20);
  EXPECT_EQ(pool->Use().held, size_t{2} << 20);
}

TEST(CpuMemoryPool, DoesNotHoardSizesThatNoLongerOccur) {
  const auto pool = MemoryPool::Make();
  constexpr size_t kMegabyte = size_t{1} << 20;
  for (size_t size = 8; size <= 80; size += 8) pool->Take(size * kMegabyte);
  // Each alone was in use; together they would be 440 MB.
  EXPECT_LE(pool->Use().peak, 80 * kMegabyte);
  EXPECT_LE(pool->Use().held, 80 * kMegabyte * 5 / 4 + 32 * kMegabyte);
}

TEST(CpuMemoryPool, IsKeptAliveByItsBlocks) {
  auto pool = MemoryPool::Make();
  auto block = pool->Take(4096);
  pool->Close();
  pool = nullptr;
  std::ranges::fill(std::span(static_cast<char*>(block.get()), 4096), 'x');
  block = nullptr;
}

TEST(CpuMemoryPool, FreesWhatComesBackAfterItWasClosed) {
  const auto pool = MemoryPool::Make();
  auto kept = pool->Take(4096);
  pool->Take(1 << 20);
  pool->Close();
  EXPECT_EQ(pool->Use().held, 4096u);
  kept = nullptr;
  EXPECT_EQ(pool->Use().held, 0u);
}

TEST(CpuMemoryPool, TakesBlocksBackFromAnyThread) {
  const auto pool = MemoryPool::Make();
  for (int round = 0; round < 50; ++round) {
    std::vector<std::shared_ptr<void>> blocks;
    for (int i = 0; i < 20; ++i) blocks.push_back(pool->Take(1024));
    std::thread other([given = std::move(blocks)]() mutable { given.clear(); });
    for (int i = 0; i < 20; ++i) pool->Take(1024);
    other.join();
  }
  EXPECT_EQ(pool->Use().in_use, 0u);
  EXPECT_LE(pool->Use().held, 40u * 1024);
}

TEST(CpuMemoryPool, AStepInItsSecondRoundAsksForNothingNew) {
  const auto executor = MakeCpuBackend()->MakeExecutor();
  const Conv2dSpec spec{
      .in_channels = 8, .out_channels = 8, .kernel_h = 3, .kernel_w = 3, .pad_h = 1, .pad_w = 1};
  const Tensor x = Tensor::Zeros({4, 16, 16, 8}, DType::kFloat32);
  const Tensor weight = Tensor::Zeros(spec.WeightShape(), DType::kFloat32);
  const auto step = [&] {
    const Tensor y = executor->Conv2dForward(spec, x, weight, {});
    const Tensor z = executor->ActivationForward(ActivationKind::kTanh, y);
    const Tensor sum = executor->Add(z, y);
    executor->Conv2dBackwardInput(spec, x.shape(), sum, weight);
  };
  step();
  const MemoryUse first = executor->Memory();
  for (int i = 0; i < 3; ++i) step();
  EXPECT_EQ(executor->Memory().held, first.held);
  EXPECT_EQ(executor->Memory().peak, first.peak);
  EXPECT_GE(first.peak, 3 * x.bytes());
  EXPECT_EQ(executor->Memory().in_use, 0u);
}

}  // namespace
}  // namespace syncbn::backend::cpu
