#include "data/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "backend/out_of_device_memory.h"
#include "base/check.h"
#include "data/buffer_pool.h"
#include "data/pixel_source.h"
#include "syncbn/v1/run.pb.h"
#include "tests/data/data_files.h"

namespace syncbn::data {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

constexpr int64_t kSamples = 53;
const std::vector<int64_t> kBatches = {4, 0, 7, 1};

class LoaderTest : public ::testing::Test {
 protected:
  Sampler MakeSampler() const { return Sampler({.samples = kSamples, .seed = 11}); }
  BatchPlan Plan() const { return BatchPlan(kSamples, kBatches, v1::LAST_BATCH_KEEP); }

  // What `replica` must get in `step` of `epoch`, without any loader.
  Batch Expected(int replica, int64_t epoch, int64_t step) const {
    const std::vector<uint64_t> order = MakeSampler().Order(epoch);
    const PositionRange slice = Plan().Slice(step, replica);
    return maker_.Make(std::span(order).subspan(static_cast<size_t>(slice.begin),
                                                static_cast<size_t>(slice.size())),
                       epoch);
  }

  void ExpectSame(const LoadedBatch& loaded, int replica, int64_t epoch, int64_t step) const {
    EXPECT_EQ(loaded.epoch, epoch);
    EXPECT_EQ(loaded.step, step);
    const Batch expected = Expected(replica, epoch, step);
    EXPECT_EQ(loaded.batch.sample_ids, expected.sample_ids);
    EXPECT_EQ(loaded.batch.images.shape(), expected.images.shape());
    const auto same = [](const Tensor& a, const Tensor& b) {
      return a.bytes() == b.bytes() &&
             std::memcmp(a.Bytes().data(), b.Bytes().data(), a.bytes()) == 0;
    };
    EXPECT_TRUE(same(loaded.batch.images, expected.images))
        << "replica " << replica << ", epoch " << epoch << ", step " << step;
    EXPECT_TRUE(same(loaded.batch.labels, expected.labels));
  }

  const Dataset dataset_ = PatternDataset(kSamples);
  const BatchMaker maker_{dataset_,
                          {.augment = {.crop_padding = 1, .horizontal_flip = true}, .seed = 11}};
};

TEST_F(LoaderTest, GivesTheBatchesOfTheMakerAtAnyPrefetchAndThreadCount) {
  const int64_t steps = Plan().steps_per_epoch();  // 53 samples in batches of 12: 5
  ASSERT_EQ(steps, 5);
  for (int prefetch : {0, 1, 2, 5, 64}) {
    for (int threads : {1, 2, 3}) {
      SCOPED_TRACE(testing::Message() << "prefetch " << prefetch << ", threads " << threads);
      Loader loader(maker_, MakeSampler(), Plan(),
                    {.replicas = 4, .prefetch = prefetch, .threads = threads});
      for (int64_t number = 0; number < 3 * steps; ++number) {
        for (int replica = 0; replica < 4; ++replica) {
          ExpectSame(loader.Next(replica), replica, number / steps, number % steps);
        }
      }
    }
  }
}

TEST_F(LoaderTest, ReplicasMayReadAtTheSameTimeAndAtDifferentSpeeds) {
  const int64_t steps = Plan().steps_per_epoch();
  for (int prefetch : {0, 1, 3}) {
    Loader loader(maker_, MakeSampler(), Plan(),
                  {.replicas = 4, .prefetch = prefetch, .threads = 2});
    std::vector<std::vector<LoadedBatch>> loaded(4);
    std::vector<std::thread> replicas;
    for (int replica = 0; replica < 4; ++replica) {
      replicas.emplace_back([&, replica] {
        for (int64_t number = 0; number < 4 * steps; ++number) {
          if ((number + replica) % 5 == 0)
            std::this_thread::sleep_for(std::chrono::microseconds(300));
          loaded[static_cast<size_t>(replica)].push_back(loader.Next(replica));
        }
      });
    }
    for (std::thread& thread : replicas) thread.join();
    for (int replica = 0; replica < 4; ++replica) {
      for (int64_t number = 0; number < 4 * steps; ++number) {
        ExpectSame(loaded[static_cast<size_t>(replica)][static_cast<size_t>(number)], replica,
                   number / steps, number % steps);
      }
    }
  }
}

TEST_F(LoaderTest, OneReplicaMayRunFarAheadOfTheOthers) {
  Loader loader(maker_, MakeSampler(), Plan(), {.replicas = 4, .prefetch = 2, .threads = 1});
  const int64_t steps = Plan().steps_per_epoch();
  for (int64_t number = 0; number < 4 * steps; ++number) {
    ExpectSame(loader.Next(2), 2, number / steps, number % steps);
  }
  ExpectSame(loader.Next(0), 0, 0, 0);
}

TEST_F(LoaderTest, AProcessLoadsTheReplicasItHosts) {
  Loader loader(maker_, MakeSampler(), Plan(), {.first_replica = 2, .replicas = 2});
  ExpectSame(loader.Next(3), 3, 0, 0);
  ExpectSame(loader.Next(2), 2, 0, 0);
  ExpectSame(loader.Next(2), 2, 0, 1);
  EXPECT_THROW(loader.Next(1), Error);
  EXPECT_THROW(loader.Next(4), Error);
}

TEST_F(LoaderTest, BeginsAtAnyStepOfAnyEpoch) {
  const int64_t steps = Plan().steps_per_epoch();
  for (int prefetch : {0, 2}) {
    for (int64_t epoch : {0, 3}) {
      for (int64_t step = 0; step <= steps; ++step) {
        Loader loader(maker_, MakeSampler(), Plan(),
                      {.replicas = 4, .prefetch = prefetch, .epoch = epoch, .step = step});
        for (int64_t number = 0; number < 3; ++number) {
          ExpectSame(loader.Next(2), 2, epoch + (step + number) / steps, (step + number) % steps);
        }
      }
    }
  }
}

TEST_F(LoaderTest, BatchesOutliveTheLoader) {
  std::vector<LoadedBatch> kept;
  {
    Loader loader(maker_, MakeSampler(), Plan(), {.replicas = 4});
    for (int i = 0; i < 5; ++i) kept.push_back(loader.Next(2));
  }
  for (int i = 0; i < 5; ++i) ExpectSame(kept[static_cast<size_t>(i)], 2, 0, i);
}

TEST_F(LoaderTest, ErrorsOfABackgroundThreadReachEveryReplica) {
  // The order names samples that the data set does not have.
  for (int prefetch : {0, 2}) {
    const BatchPlan plan(100, {10, 10}, v1::LAST_BATCH_KEEP);
    Loader loader(maker_, Sampler({.samples = 100, .shuffle = false}), plan,
                  {.replicas = 2, .prefetch = prefetch, .threads = 2});
    for (int replica = 0; replica < 2; ++replica) {
      try {
        for (int step = 0; step < 5; ++step) loader.Next(replica);
        ADD_FAILURE() << "no error";
      } catch (const Error& error) {
        EXPECT_THAT(error.what(), HasSubstr("53 samples of pattern's train split"));
        EXPECT_THAT(error.what(),
                    ContainsRegex("loading the batch of epoch 0, step (2, replica 1|[34], replica [01])"))
            << "whichever thread fails first";
      }
      EXPECT_THROW(loader.Next(replica), Error) << "and it stays an error";
    }
  }
}

TEST_F(LoaderTest, ALoaderThatNobodyReadsStopsAtOnce) {
  for (int i = 0; i < 50; ++i) {
    Loader loader(maker_, MakeSampler(), Plan(), {.replicas = 4, .prefetch = 64, .threads = 2});
  }
}

TEST_F(LoaderTest, WaitingThreadsSleep) {
  Loader loader(maker_, MakeSampler(), Plan(), {.replicas = 4, .prefetch = 2, .threads = 2});
  loader.Next(2);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // until the queues are full
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  getrusage(RUSAGE_SELF, &after);
  const auto micros = [](const rusage& usage) {
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000L + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
  };
  // A single spinning thread would take 300,000.
  EXPECT_LT(micros(after) - micros(before), 60'000);
}

TEST_F(LoaderTest, WaitingTimeIsThatOfMakingWhenNothingIsPrefetched) {
  const Dataset large = PatternDataset(64, {64, 64, 3});
  const BatchMaker maker(large, {});
  const BatchPlan plan(64, {64}, v1::LAST_BATCH_KEEP);
  // The least of several, because anything may interrupt a thread on a busy machine.
  const auto seconds_waited = [&](int prefetch) {
    double least = 1e9;
    for (int i = 0; i < 10; ++i) {
      Loader loader(maker, Sampler({.samples = 64}), plan, {.prefetch = prefetch});
      loader.Next(0);
      if (prefetch > 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      least = std::min(least, std::chrono::duration<double>(loader.Next(0).waited).count());
    }
    return least;
  };
  EXPECT_GT(seconds_waited(0), 1e-5) << "786,432 pixels take longer";
  EXPECT_LT(seconds_waited(2), seconds_waited(0)) << "it was ready long ago";
}

TEST_F(LoaderTest, MemoryOfABatchIsUsedAgain) {
  Loader loader(maker_, MakeSampler(), Plan(), {.replicas = 4, .prefetch = 0});
  const float* first;
  {
    const LoadedBatch loaded = loader.Next(2);
    first = loaded.batch.images.Data<float>();
  }
  const LoadedBatch second = loader.Next(2);
  EXPECT_EQ(second.batch.images.Data<float>(), first);
  const LoadedBatch third = loader.Next(2);
  EXPECT_NE(third.batch.images.Data<float>(), first) << "the second is still held";
}

// Images that are made while others are: a sample waits until so many are in the making.
class SlowImages : public PixelSource {
 public:
  explicit SlowImages(int together) : together_(together) {}

  void Write(int64_t index, const ChooseCrop&, uint8_t* out) const override {
    std::unique_lock lock(mutex_);
    most_ = std::max(most_, ++inside_);
    arrived_.notify_all();
    const auto all = [&] { return late_ || most_ >= together_; };
    late_ = !arrived_.wait_for(lock, std::chrono::seconds(20), all);
    --inside_;
    std::fill_n(out, 3, static_cast<uint8_t>(index));
  }
  Digest ContentDigest() const override { return {}; }
  std::vector<std::string> Damaged() const override { return {}; }
  int most() const {
    std::lock_guard lock(mutex_);
    return most_;
  }

 private:
  const int together_;
  mutable std::mutex mutex_;
  mutable std::condition_variable arrived_;
  mutable int inside_ = 0, most_ = 0;
  mutable bool late_ = false;  // they are not waited for again
};

TEST(LoaderOfFiles, AllThreadsDecodeForTheOneBatchThatIsPrepared) {
  constexpr int64_t kImages = 40;
  const auto images = std::make_shared<SlowImages>(4);
  const Dataset dataset({.name = "slow",
                         .split = Split::kTrain,
                         .image = {1, 1, 3},
                         .classes = 1,
                         .images = {},
                         .labels = std::vector<int32_t>(kImages),
                         .source = images});
  const BatchMaker maker(dataset, {});
  Loader loader(maker, Sampler({.samples = kImages, .shuffle = false}),
                BatchPlan(kImages, {kImages}, v1::LAST_BATCH_KEEP), {.prefetch = 1, .threads = 4});
  const LoadedBatch loaded = loader.Next(0);
  EXPECT_EQ(images->most(), 4);
  for (int64_t i = 0; i < kImages; ++i) {
    EXPECT_EQ(loaded.batch.images.Data<float>()[3 * i], static_cast<float>(i / 255.0));
  }
}

// Of which one does not fit a device.
class TooLargeImages : public PixelSource {
 public:
  void Write(int64_t index, const ChooseCrop&, uint8_t* out) const override {
    if (index == 5) throw backend::OutOfDeviceMemory("no room", 77);
    std::fill_n(out, 3, uint8_t{0});
  }
  Digest ContentDigest() const override { return {}; }
  std::vector<std::string> Damaged() const override { return {}; }
};

TEST(LoaderOfFiles, ALackOfMemoryReachesEveryReplicaAsWhatItIs) {
  const Dataset dataset({.name = "large",
                         .split = Split::kTrain,
                         .image = {1, 1, 3},
                         .classes = 1,
                         .images = {},
                         .labels = std::vector<int32_t>(8),
                         .source = std::make_shared<TooLargeImages>()});
  const BatchMaker maker(dataset, {});
  for (const int prefetch : {0, 2}) {
    Loader loader(maker, Sampler({.samples = 8, .shuffle = false}),
                  BatchPlan(8, {4, 4}, v1::LAST_BATCH_KEEP),
                  {.replicas = 2, .prefetch = prefetch, .threads = 3});
    for (const int replica : {1, 0, 0}) {
      if (replica == 0 && prefetch == 0) continue;
      try {
        while (true) loader.Next(replica);
      } catch (const backend::OutOfDeviceMemory& error) {
        EXPECT_EQ(error.available(), 77U);
        EXPECT_THAT(error.what(),
                    ContainsRegex("^no room\n  in loading the batch of epoch [01], step 0, "
                                  "replica 1$"));
      }
    }
  }
}

TEST_F(LoaderTest, APassGivesTheSamplesOfItsOrderOnceAndNoMore) {
  const std::vector<uint64_t> order = {7, 52, 0, 7, 31, 12, 3, 3, 40, 41, 42, 1, 5};
  const BatchPlan plan(static_cast<int64_t>(order.size()), kBatches, v1::LAST_BATCH_KEEP);
  for (const int prefetch : {0, 1, 4}) {
    Loader loader(maker_, order, plan,
                  {.replicas = 4, .prefetch = prefetch, .threads = 2, .epoch = 3});
    for (int64_t step = 0; step < plan.steps_per_epoch(); ++step) {
      for (int replica = 0; replica < 4; ++replica) {
        const PositionRange slice = plan.Slice(step, replica);
        const Batch expected =
            maker_.Make(std::span(order).subspan(static_cast<size_t>(slice.begin),
                                                 static_cast<size_t>(slice.size())),
                        3);
        const LoadedBatch loaded = loader.Next(replica);
        EXPECT_EQ(loaded.epoch, 3);
        EXPECT_EQ(loaded.step, step);
        EXPECT_EQ(loaded.batch.sample_ids, expected.sample_ids);
        EXPECT_TRUE(
            std::ranges::equal(loaded.batch.images.Span<float>(), expected.images.Span<float>()));
      }
    }
    EXPECT_THROW(loader.Next(0), Error);
  }
}

TEST(BufferPool, BlocksComeBackWhenTheirLastOwnerLetsGo) {
  auto pool = std::make_unique<BufferPool>(100);
  std::shared_ptr<void> a = pool->Take(), b = pool->Take();
  EXPECT_NE(a, b);
  void* const address = a.get();
  std::shared_ptr<void> copy = a;
  a.reset();
  EXPECT_EQ(pool->idle(), 0u);
  copy.reset();
  EXPECT_EQ(pool->idle(), 1u);
  EXPECT_EQ(pool->Take().get(), address);
  pool.reset();
  std::memset(b.get(), 1, 100);  // still ours; freed after the pool
}

}  // namespace
}  // namespace syncbn::data
