#include "data/dataset_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <latch>
#include <thread>
#include <vector>

#include "base/error.h"
#include "syncbn/v1/run.pb.h"
#include "tests/support/temp_folder.h"

namespace syncbn::data {
namespace {

v1::DataSpec Shapes(int64_t samples) {
  v1::DataSpec spec;
  spec.set_dataset(v1::DATASET_SHAPES);
  spec.mutable_shapes()->set_train_samples(samples);
  spec.mutable_shapes()->set_test_samples(2);
  return spec;
}

// A cache whose loads are counted.
struct Counted {
  std::atomic<int> loads = 0;
  DatasetCache cache{[this](const v1::DataSpec& spec, uint64_t seed) {
    ++loads;
    return MakeDataset(spec, seed);
  }};
};

TEST(DatasetCache, ThreadsThatWantTheSameDataSetLoadItOnce) {
  Counted counted;
  constexpr int kThreads = 8;
  std::vector<std::shared_ptr<const LoadedDataset>> got(kThreads);
  std::latch together(kThreads);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        together.arrive_and_wait();
        got[static_cast<size_t>(i)] = counted.cache.Get(Shapes(20), 1);
      });
    }
  }
  EXPECT_EQ(counted.loads, 1);
  for (const auto& one : got) EXPECT_EQ(one, got[0]);
}

TEST(DatasetCache, WhatIsOnlyUsedDifferentlyIsTheSameDataSet) {
  Counted counted;
  const auto plain = counted.cache.Get(Shapes(20), 1);
  v1::DataSpec spec = Shapes(20);
  spec.mutable_augment()->set_horizontal_flip(true);
  spec.set_standardize(false);
  spec.set_shuffle(false);
  spec.set_prefetch(7);
  spec.set_last_batch(v1::LAST_BATCH_DROP);
  EXPECT_EQ(counted.cache.Get(spec, 1), plain);
  EXPECT_EQ(counted.loads, 1);
}

TEST(DatasetCache, OtherSamplesAreAnotherDataSet) {
  Counted counted;
  const auto plain = counted.cache.Get(Shapes(20), 1);
  EXPECT_NE(counted.cache.Get(Shapes(20), 2)->digests().train, plain->digests().train);
  EXPECT_EQ(counted.cache.Get(Shapes(21), 1)->train().size(), 21);
  v1::DataSpec limited = Shapes(20);
  limited.set_train_limit(5);
  EXPECT_EQ(counted.cache.Get(limited, 1)->train().size(), 5);
  EXPECT_EQ(counted.loads, 4);
}

TEST(DatasetCache, AFolderIsOneDataSetByAnyOfItsNamesAndEachFolderItsOwn) {
  TempFolder folder;
  for (const char* place : {"a/data", "b/data"}) {
    std::filesystem::create_directories(folder.path() / place);
  }
  int loads = 0;
  DatasetCache cache(
      [&](const v1::DataSpec&, uint64_t seed) { return MakeDataset(Shapes(20 + loads++), seed); });
  const auto get = [&](const std::filesystem::path& path) {
    v1::DataSpec spec;
    spec.set_dataset(v1::DATASET_CIFAR10);
    spec.set_path(path.string());
    return cache.Get(spec, 1);
  };
  const auto a = get(folder.path() / "a/data");
  EXPECT_EQ(get(folder.path() / "a/data/"), a);
  EXPECT_EQ(get(folder.path() / "b/.." / "a/./data"), a);
  EXPECT_EQ(loads, 1);
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path() / "a");
  const auto first = get("data");
  std::filesystem::current_path(folder.path() / "b");
  const auto second = get("data");
  std::filesystem::current_path(before);
  EXPECT_EQ(first, a);
  EXPECT_NE(second, a);
  EXPECT_EQ(loads, 2);
}

TEST(DatasetCache, HasTheStatisticsAndDigestsOfItsSplits) {
  DatasetCache cache;
  const auto loaded = cache.Get(Shapes(20), 1);
  EXPECT_EQ(loaded->statistics().mean, loaded->train().ComputeStatistics().mean);
  EXPECT_EQ(loaded->statistics().std, loaded->train().ComputeStatistics().std);
  EXPECT_EQ(loaded->digests().train, loaded->train().ComputeDigest());
  EXPECT_EQ(loaded->digests().test, loaded->test().ComputeDigest());
}

TEST(DatasetCache, StandardizesByWhatTheRunFileGivesElseByTheTrainingSplit) {
  DatasetCache cache;
  v1::DataSpec spec = Shapes(20);
  const auto loaded = cache.Get(spec, 1);
  EXPECT_TRUE(loaded->StandardizationOf(spec).mean.empty());
  spec.set_standardize(true);
  EXPECT_EQ(loaded->StandardizationOf(spec).mean, loaded->statistics().mean);
  spec.add_mean(0.5);
  for (const double std : {0.1, 0.2, 0.3}) spec.add_std(std);
  EXPECT_EQ(cache.Get(spec, 1), loaded);
  EXPECT_EQ(loaded->StandardizationOf(spec).mean, (std::vector<double>{0.5, 0.5, 0.5}));
  EXPECT_EQ(loaded->StandardizationOf(spec).std, (std::vector<double>{0.1, 0.2, 0.3}));
  spec.add_std(0.4);
  EXPECT_THROW(loaded->StandardizationOf(spec), Error);
}

TEST(DatasetCache, ALoadThatFailedIsTriedAgain) {
  int calls = 0;
  DatasetCache cache([&](const v1::DataSpec& spec, uint64_t seed) {
    if (++calls == 1) throw Error(ErrorCode::kNotFound, "not there yet");
    return MakeDataset(spec, seed);
  });
  EXPECT_THROW(cache.Get(Shapes(20), 1), Error);
  EXPECT_EQ(cache.Get(Shapes(20), 1)->train().size(), 20);
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace syncbn::data
