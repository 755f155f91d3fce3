// A store that cannot grow, and one on a disk that is full to the last byte.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/descriptor.h"
#include "coordinator/store/store.h"
#include "tests/coordinator/store/store_fixture.h"
#include "tests/support/full_disk.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {
namespace {

using ::testing::HasSubstr;

TEST_F(StoreTest, WhenItIsFullNothingIsKeptAndLaterItGoesOn) {
  const int64_t id = AddJob(*store);
  store->Write([](Tables& tables) {
    Rows rows = tables.database.Query("PRAGMA page_count");
    rows.Next();
    tables.database.Execute("PRAGMA max_page_count = " + std::to_string(rows.Int(0) + 20));
  });
  int64_t next = 1;
  std::string text;
  while (text.empty() && next < 1'000'000) {
    text = ErrorOf([&] {
      store->Write([&](Tables& tables) {
        tables.metrics.Insert({id, 1, 0}, TestBatch(next, 500), kTestNow);
      });
      next += 500;
    });
  }
  EXPECT_EQ(text, "RESOURCE_EXHAUSTED: the store " + (folder.path() / "data/store.db").string() +
                      " cannot be written: no space left. Nothing of this request was kept; free "
                      "some space and send it again");
  auto acknowledged = [&] {
    return store->Read([&](Tables& tables) { return tables.metrics.Acknowledged({id, 1, 0}); });
  };
  EXPECT_EQ(acknowledged(), next - 1);
  EXPECT_EQ(store->Read([&](Tables& tables) { return tables.jobs.Get(id).status.state; }),
            JobState::kQueued)
      << "reading goes on";
  store->Write([](Tables& tables) { tables.database.Execute("PRAGMA max_page_count = 1000000"); });
  store->Write([&](Tables& tables) {
    tables.metrics.Insert({id, 1, 0}, TestBatch(next, 500), kTestNow);
  });
  EXPECT_EQ(acknowledged(), next + 499);
  EXPECT_EQ(AllPoints(*store, id).size(), static_cast<size_t>(next + 499));
}

TEST_F(StoreTest, AFullStoreFailsEveryWriteOfAGroupAndKeepsNoneOfThem) {
  const int64_t id = AddJob(*store);
  store->Write([](Tables& tables) {
    Rows rows = tables.database.Query("PRAGMA page_count");
    rows.Next();
    tables.database.Execute("PRAGMA max_page_count = " + std::to_string(rows.Int(0) + 10));
  });
  std::vector<std::thread> threads;
  std::vector<int64_t> acknowledged(8, 0);
  std::atomic<int> failures = 0;
  for (int rank = 0; rank < 8; ++rank) {
    threads.emplace_back([&, rank] {
      for (int64_t next = 1; next < 5000; next += 250) {
        const std::string text = ErrorOf([&] {
          acknowledged[static_cast<size_t>(rank)] = store->Write([&](Tables& tables) {
            return tables.metrics.Insert({id, 1, rank}, TestBatch(next, 250), kTestNow);
          });
        });
        if (text.empty()) continue;
        EXPECT_THAT(text, HasSubstr("no space left"));
        ++failures;
        return;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 8);
  size_t total = 0;
  for (int64_t one : acknowledged) total += static_cast<size_t>(one);
  EXPECT_EQ(AllPoints(*store, id).size(), total);
}

class FullDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!disk.mounted()) GTEST_SKIP() << "mounting a file system is not permitted here";
  }
  // To the last byte.
  void Fill() const {
    const Descriptor file(::open(ballast.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    const std::string block(4096, 'x');
    while (::write(file.get(), block.data(), block.size()) > 0) {
    }
  }

  static void Cancel(Store& store, int64_t id) {
    store.Write(
        [&](Tables& tables) {
          const JobRecord record = tables.jobs.Get(id);
          const Outcome outcome =
              Apply(record.status, {.kind = EventKind::kCancel}, {}, MomentAt(kTestNow));
          tables.jobs.Update(id, outcome.status, {"anna", "CANCEL", ""}, kTestNow);
        },
        Store::Use::kMakesRoom);
  }
  static void Delete(Store& store, int64_t id) {
    store.Write(
        [&](Tables& tables) {
          tables.jobs.Delete(id, {"anna", "DELETE", ""}, kTestNow);
        },
        Store::Use::kMakesRoom);
  }

  TempFolder folder;
  SmallDisk disk{folder.path(), 24 * 1024};
  const std::filesystem::path data = folder.path() / "data", ballast = folder.path() / "ballast";
};

TEST_F(FullDisk, AStoreOpensOnItAndItsJobsCanBeEndedAndDeletedWhileNothingIsAdded) {
  auto store = std::make_unique<Store>(Store::Options{.folder = data});
  const int64_t id = AddJob(*store);
  store.reset();
  Fill();
  store = std::make_unique<Store>(Store::Options{.folder = data});
  EXPECT_THAT(ErrorOf([&] { AddJob(*store); }), HasSubstr("RESOURCE_EXHAUSTED: the store "));
  Cancel(*store, id);
  Delete(*store, id);
  EXPECT_EQ(store->Read([](Tables& tables) { return tables.jobs.Count(); }), 0);
  // With room again the reserve is set aside anew, and everything is taken.
  std::filesystem::remove(ballast);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!ErrorOf([&] { AddJob(*store); }).empty()) {
    ASSERT_LT(std::chrono::steady_clock::now(), end);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_TRUE(std::filesystem::exists(data / "reserve"));
}

TEST_F(FullDisk, HoweverOftenItIsOpenedThereItsJobsCanBeEndedAndDeleted) {
  constexpr size_t kRounds = 8;
  std::vector<int64_t> jobs;
  {
    Store store({.folder = data});
    for (size_t i = 0; i < 2 * kRounds; ++i) jobs.push_back(AddJob(store));
  }
  const auto reserve = [&] { return std::filesystem::file_size(data / "reserve"); };
  const uintmax_t at_first = reserve();
  for (size_t round = 0; round < kRounds; ++round) {
    // Whatever becomes free is somebody else's at once.
    Fill();
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const std::string error = ErrorOf([&] {
        Store store({.folder = data});
        Fill();
        for (const size_t i : {2 * round, 2 * round + 1}) {
          Cancel(store, jobs[i]);
          Fill();
          Delete(store, jobs[i]);
          Fill();
        }
        // Half of them end as if they were killed.
        if (round % 2 == 1) ::_exit(0);
      });
      std::fprintf(stderr, "%s", error.c_str());
      ::_exit(error.empty() ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0) << "round " << round;
  }
  EXPECT_GT(reserve(), at_first / 2) << "little of it was spent";
  Store store({.folder = data});
  EXPECT_EQ(store.Read([](Tables& tables) { return tables.jobs.Count(); }), 0);
}

}  // namespace
}  // namespace syncbn::coordinator
