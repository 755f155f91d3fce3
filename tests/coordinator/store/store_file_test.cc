// The store as a file: its folder, copies, full disks, damage, versions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <fstream>
#include <thread>

#include "coordinator/api_error.h"
#include "coordinator/store/store.h"
#include "coordinator/store/store_schema.h"
#include "tests/coordinator/store/store_fixture.h"
#include "tests/support/temp_folder.h"
#include "tests/train/full_disk.h"

namespace syncbn::coordinator {
namespace {

using ::testing::HasSubstr;

TEST_F(StoreTest, TheSecondCoordinatorOnAFolderIsToldWhoHasIt) {
  // flock belongs to the open file, so a second store in this process is as strange as another one.
  const std::string text = ErrorOf([&] { Store second({.folder = folder.path() / "data"}); });
  EXPECT_THAT(
      text,
      HasSubstr("FAILED_PRECONDITION: the data folder " + (folder.path() / "data").string() +
                " belongs to another coordinator (process " + std::to_string(::getpid()) + " on "));
  EXPECT_THAT(text, HasSubstr("stop that one, or give --data another folder"));
  store.reset();
  Store third({.folder = folder.path() / "data"});
}

TEST_F(StoreTest, ACopyMadeWhileOthersWriteIsWholeAndCanBeOpened) {
  const int64_t id = AddJob(*store);
  std::atomic<bool> stop = false, written = false;
  std::thread writer([&] {
    for (int64_t next = 1; !stop; next += 100) {
      store->Write([&](Tables& tables) {
        tables.metrics.Insert({id, 1, 0}, TestBatch(next, 100), kTestNow);
      });
      written = true;
    }
  });
  while (!written) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const auto copy = folder.path() / "copy" / "store.db";
  std::filesystem::create_directories(copy.parent_path());
  for (int i = 0; i < 5; ++i) {
    store->BackUp(copy);
    for (const auto& file : {copy, store->folder() / "store.db", store->folder() / "store.db-wal"}) {
      EXPECT_EQ(std::filesystem::status(file).permissions(),
                std::filesystem::perms::owner_read | std::filesystem::perms::owner_write)
          << file;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  stop = true;
  writer.join();
  Store restored({.folder = copy.parent_path()});
  const int64_t acknowledged = restored.Read([&](Tables& tables) {
    return tables.metrics.Acknowledged({id, 1, 0});
  });
  EXPECT_GT(acknowledged, 0);
  EXPECT_EQ(AllPoints(restored, id).size(), static_cast<size_t>(acknowledged))
      << "one moment, not several";
  EXPECT_EQ(restored.id(), store->id());
  EXPECT_FALSE(std::filesystem::exists(copy.string() + ".tmp"));
}

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

TEST_F(StoreTest, AFileThatIsNoStoreIsRefused) {
  store.reset();
  const auto other = folder.path() / "other";
  std::filesystem::create_directories(other);
  {
    Database database(other / "store.db", Database::Mode::kReadWrite);
    database.Execute("CREATE TABLE t(x)");
  }
  EXPECT_EQ(ErrorOf([&] { Store wrong({.folder = other}); }),
            "DATA_LOSS: " + (other / "store.db").string() +
                " is not a syncbn store; give --data another folder");
  WriteFileAtomically(other / "store.db", std::string(5000, 'x'));
  EXPECT_THAT(ErrorOf([&] { Store wrong({.folder = other}); }), HasSubstr("DATA_LOSS: the store "));
}

// A data folder whose files somebody else has been at.
class DataFolderTest : public StoreTest {
 protected:
  DataFolderTest() {
    id = AddJob(*store);
    std::filesystem::create_directories(data / "jobs" / std::to_string(id) / "attempts");
  }
  void Close() { store.reset(); }
  std::string ErrorOfOpening() {
    return ErrorOf([&] { Store again({.folder = data}); });
  }
  std::string ErrorOfWriting() {
    return ErrorOf([&] { AddJob(*store); });
  }
  std::filesystem::path BackUp() {
    const std::filesystem::path path = BackupFile(data, "store", kTestNow);
    store->BackUp(path);
    return path;
  }

  const std::filesystem::path data = folder.path() / "data";
  int64_t id = 0;
};

TEST_F(DataFolderTest, AMissingOrEmptyStoreBesideItsJobsIsNotBegunAnew) {
  const std::filesystem::path backup = BackUp();
  Close();
  std::filesystem::remove(data / "store.db");
  EXPECT_EQ(
      ErrorOfOpening(),
      "FAILED_PRECONDITION: the store " + (data / "store.db").string() +
          " is missing, but the folder holds 1 job that it must have known: a new one would know "
          "no job and no token, and everybody on this machine would be an admin. To go on, copy " +
          backup.string() + ", the newest backup there is, to " + (data / "store.db").string() +
          ", remove store.db-wal and store.db-shm beside it, and start the coordinator again. To "
          "begin anew, give --data an empty folder");
  EXPECT_FALSE(std::filesystem::exists(data / "store.db"));
  WriteFileAtomically(data / "store.db", "");
  EXPECT_THAT(ErrorOfOpening(), HasSubstr("store.db is empty, but the folder holds 1 job"));
  // Without jobs there may still be tokens that are to count.
  std::filesystem::remove_all(data / "jobs");
  EXPECT_THAT(ErrorOfOpening(), HasSubstr("store.db is empty, but this folder had one"));
  std::filesystem::copy_file(backup, data / "store.db",
                             std::filesystem::copy_options::overwrite_existing);
  Reopen();
  EXPECT_EQ(store->Read([&](Tables& tables) { return tables.jobs.Get(id).id; }), id);
}

TEST_F(DataFolderTest, AFolderInTheStoresPlaceIsNamedAsThat) {
  Close();
  std::filesystem::remove(data / "store.db");
  std::filesystem::create_directory(data / "store.db");
  EXPECT_THAT(ErrorOfOpening(),
              HasSubstr("store.db is a folder: move it away. To go on with an earlier store, copy a "
                        "backup of yours (none is left in " + (data / "backups").string() + ") to "));
}

TEST_F(DataFolderTest, AnotherStoreBesideTheJobsIsRefused) {
  Close();
  Store other({.folder = folder.path() / "other"});
  AddJob(other);
  const std::filesystem::path copy = folder.path() / "copy.db";
  other.BackUp(copy);
  std::filesystem::remove(data / "store.db");
  std::filesystem::copy_file(copy, data / "store.db");
  EXPECT_THAT(ErrorOfOpening(), HasSubstr("(they are of store "));
}

TEST_F(DataFolderTest, WithoutItsLockNothingIsAcknowledgedAnyMore) {
  ASSERT_EQ(ErrorOfWriting(), "");
  std::filesystem::remove(data / "lock");
  const std::string text = ErrorOfWriting();
  EXPECT_THAT(text,
              HasSubstr("UNAVAILABLE: the lock " + (data / "lock").string() +
                        " was removed, moved or replaced: another coordinator may use the folder"));
  EXPECT_EQ(ErrorOf([&] { store->CheckInPlace(); }), text);
  // Reading goes on, and the next one finds all that was acknowledged.
  EXPECT_EQ(store->Read([](Tables& tables) { return tables.jobs.Get(2).id; }), 2);
  Store second({.folder = data});
  EXPECT_EQ(second.Read([](Tables& tables) { return tables.jobs.Get(2).id; }), 2);
  EXPECT_NE(store->WhyLost(), "");
  EXPECT_EQ(second.WhyLost(), "");
}

TEST_F(DataFolderTest, AStoreThatIsRemovedOrReplacedAcknowledgesNothingAndIsSaved) {
  for (const bool replaced : {false, true}) {
    const std::filesystem::path older = folder.path() / ("older" + std::to_string(replaced));
    store->BackUp(older);
    ASSERT_EQ(ErrorOfWriting(), "");
    const int64_t jobs = store->Read([](Tables& tables) { return tables.jobs.Count(); });
    std::filesystem::remove(data / "store.db");
    if (replaced) std::filesystem::copy_file(older, data / "store.db");
    const std::string text = ErrorOfWriting();
    EXPECT_THAT(text, HasSubstr("UNAVAILABLE: the store " + (data / "store.db").string() +
                                " was removed, moved or replaced while this coordinator uses it"));
    const size_t begin = text.find("copy ") + 5;
    const std::filesystem::path saved = text.substr(begin, text.find(',', begin) - begin);
    ASSERT_THAT(saved.string(), HasSubstr("/backups/store-rescued-")) << text;
    EXPECT_EQ(ErrorOf([&] { store->CheckInPlace(); }), text) << "and it stays so";
    EXPECT_THAT(ErrorOf([&] { BackUp(); }), HasSubstr("was removed, moved or replaced"));
    Close();
    EXPECT_EQ(std::filesystem::exists(data / "store.db"), replaced);
    // What the message says to do.
    std::filesystem::copy_file(saved, data / "store.db",
                               std::filesystem::copy_options::overwrite_existing);
    for (const char* end : {"store.db-wal", "store.db-shm"}) std::filesystem::remove(data / end);
    Reopen();
    EXPECT_GE(store->Read([](Tables& tables) { return tables.jobs.Count(); }), jobs)
        << "all that was acknowledged";
  }
}

TEST_F(DataFolderTest, WhatIsRefusedAfterALossHasNoEffectAndIsNotAcknowledgedTheSecondTime) {
  const RequestKey before{"anna", "before", "make"}, after{"anna", "after", "make"};
  const auto make = [&](const RequestKey& key) {
    return store->Mutate(key, kTestNow, [](Tables& tables) {
      return std::to_string(tables.jobs.Create(TestSpec(), {"seed: 1\n", ""},
                                               NewJob({}, MomentAt(kTestNow)),
                                               {"anna", "CREATE", ""}, kTestNow));
    });
  };
  const std::string made = make(before);
  EXPECT_EQ(store->Answered(before), made);
  EXPECT_EQ(store->Answered(after), std::nullopt);
  const int64_t jobs = store->Read([](Tables& tables) { return tables.jobs.Count(); });
  std::filesystem::rename(data / "store.db", data / "away.db");
  const std::string lost = ErrorOf([&] { make(after); });
  EXPECT_THAT(lost, HasSubstr("was removed, moved or replaced"));
  std::filesystem::rename(data / "away.db", data / "store.db");
  // Whoever asks again, as clients do by themselves, is not told that it was done.
  EXPECT_EQ(ErrorOf([&] { make(after); }), lost);
  EXPECT_EQ(ErrorOf([&] { make(before); }), lost);
  EXPECT_EQ(ErrorOf([&] { (void)store->Answered(before); }), lost);
  EXPECT_THAT(lost, HasSubstr(store->WhyLost())) << "and it is known to whoever asks for readiness";
  Reopen();
  EXPECT_EQ(store->WhyLost(), "");
  EXPECT_EQ(store->Read([](Tables& tables) { return tables.jobs.Count(); }), jobs);
  EXPECT_EQ(store->Answered(before), made);
}

TEST_F(DataFolderTest, AQuotaThatIsExhaustedIsNoFullDisk) {
  ASSERT_TRUE(std::filesystem::exists(data / "reserve"));
  int calls = 0;
  EXPECT_THAT(ErrorOf([&] {
                store->Write(
                    [&](Tables&) {
                      ++calls;
                      throw ApiError(ErrorCode::kResourceExhausted, "QUOTA_EXCEEDED", "enough");
                    },
                    Store::Use::kMakesRoom);
              }),
              HasSubstr("enough"));
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(std::filesystem::exists(data / "reserve"));
  EXPECT_EQ(ErrorOfWriting(), "") << "others go on";
}

TEST_F(DataFolderTest, ADamagedStoreSaysWhichBackupToPutBack) {
  const std::filesystem::path backup = BackUp();
  Close();
  {
    std::ofstream file(data / "store.db", std::ios::in | std::ios::out | std::ios::binary);
    file << std::string(8192, 'x');
  }
  const std::string text = ErrorOfOpening();
  EXPECT_THAT(text, HasSubstr("DATA_LOSS: the store " + (data / "store.db").string() +
                              " is damaged (SQLite: "));
  EXPECT_THAT(text, HasSubstr("copy " + backup.string() + ", the newest backup there is, to "));
}

TEST(FullDisk, AStoreOpensOnItAndItsJobsCanBeEndedAndDeletedWhileNothingIsAdded) {
  TempFolder folder;
  SmallDisk disk(folder.path(), 24 * 1024);
  if (!disk.mounted()) GTEST_SKIP() << "mounting a file system is not permitted here";
  const std::filesystem::path data = folder.path() / "data";
  auto store = std::make_unique<Store>(Store::Options{.folder = data});
  const int64_t id = AddJob(*store);
  store.reset();
  const std::filesystem::path ballast = folder.path() / "ballast";
  {
    std::ofstream fill(ballast, std::ios::binary);
    const std::string block(4096, 'x');
    while (fill.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }
  store = std::make_unique<Store>(Store::Options{.folder = data});
  EXPECT_THAT(ErrorOf([&] { AddJob(*store); }), HasSubstr("RESOURCE_EXHAUSTED: the store "));
  const auto makes_room = Store::Use::kMakesRoom;
  store->Write(
      [&](Tables& tables) {
        const JobRecord record = tables.jobs.Get(id);
        const Outcome outcome = Apply(record.status, {.kind = EventKind::kCancel}, {},
                                      MomentAt(kTestNow));
        tables.jobs.Update(id, outcome.status, {"anna", "CANCEL", ""}, kTestNow);
      },
      makes_room);
  store->Write(
      [&](Tables& tables) {
        tables.jobs.Delete(id, {"anna", "DELETE", ""}, kTestNow);
      },
      makes_room);
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

TEST(Store, ItsLogOfChangesIsCutToItsUsualSizeAfterALongReadAndGoneAtTheEnd) {
  TempFolder folder;
  constexpr uintmax_t kUsual = 16 << 20;
  const auto log = folder.path() / "store.db-wal";
  auto store = std::make_unique<Store>(Store::Options{.folder = folder.path(), .synced = false});
  const RunFileText large{std::string(1 << 20, 'x'), ""};
  store->Read([&](Tables& seen) {
    // While this read, which begins with its first query, lasts, the log holds all that is written.
    EXPECT_EQ(seen.jobs.Count(), 0);
    for (int i = 0; i < 24; ++i) {
      store->Write([&](Tables& tables) {
        tables.jobs.Create(TestSpec(), large, NewJob({}, MomentAt(kTestNow)),
                           {"anna", "CREATE", ""}, kTestNow);
      });
    }
  });
  EXPECT_GT(std::filesystem::file_size(log), kUsual + (kUsual >> 2));
  // The first of these carries everything over, the second begins the log anew.
  AddJob(*store);
  AddJob(*store);
  EXPECT_LE(std::filesystem::file_size(log), kUsual);
  store.reset();
  EXPECT_FALSE(std::filesystem::exists(log));
}

TEST(StoreSchema, AnOlderStoreIsBroughtUpToDateWithACopyOfWhatItWas) {
  TempFolder folder;
  const auto file = folder.path() / "store.db";
  const std::vector<std::string> first = {"CREATE TABLE a(x INTEGER) STRICT"};
  std::vector<std::string> second = first;
  second.push_back("ALTER TABLE a ADD COLUMN y INTEGER NOT NULL DEFAULT 7");
  {
    Database database(file, Database::Mode::kReadWrite);
    MigrateWith(database, first);
    database.Run("INSERT INTO a VALUES (1)");
  }
  {
    Database database(file, Database::Mode::kReadWrite);
    MigrateWith(database, second);
    Rows rows = database.Query("SELECT x, y FROM a");
    ASSERT_TRUE(rows.Next());
    EXPECT_EQ(rows.Int(1), 7);
  }
  Database old(folder.path() / "store.db.version-1", Database::Mode::kReadOnly);
  EXPECT_TRUE(old.Query("SELECT x FROM a").Next());
  Database database(file, Database::Mode::kReadWrite);
  EXPECT_EQ(ErrorOf([&] { MigrateWith(database, first); }),
            "FAILED_PRECONDITION: the store " + file.string() +
                " has version 2, written by a newer syncbn; this one knows up to version 1: use "
                "the newer "
                "program, or a copy of the store from before");
}

TEST_F(StoreTest, AnOlderStoreKnowsTheBestOfItsSeriesOnceItIsBroughtUpToDate) {
  const int64_t job = AddJob(*store);
  v1::MetricBatch batch;
  batch.set_first_sequence(1);
  batch.add_names("test/accuracy");
  for (const double value : {0.5, 0.75, std::nan(""), HUGE_VAL, 0.25}) {
    batch.add_step(batch.step_size());
    batch.add_name_index(0);
    batch.add_value(value);
    batch.add_time_us(0);
  }
  store->Write([&](Tables& tables) { tables.metrics.Insert({job, 1, 0}, batch, kTestNow); });
  const auto best = [&] {
    return store->Read([&](Tables& tables) {
      EXPECT_EQ(tables.metrics.ListSeries(job).series(0).min_value(), 0.25);
      EXPECT_EQ(tables.metrics.ListSeries(job).series(0).max_value(), 0.75);
      return tables.jobs.Get(job).evaluation.value_or(v1::Evaluation());
    });
  };
  EXPECT_EQ(best().best_accuracy(), 0.75);
  EXPECT_EQ(best().accuracy(), 0.25);
  EXPECT_EQ(best().step(), 4);
  const auto file = store->folder() / "store.db";
  store.reset();
  {
    Database database(file, Database::Mode::kReadWrite);
    database.Execute(
        "ALTER TABLE series DROP COLUMN min_value; ALTER TABLE series DROP COLUMN max_value; "
        "PRAGMA user_version = 3");
  }
  Reopen();
  EXPECT_EQ(best().best_accuracy(), 0.75);
}

TEST(StoreSchema, AStepThatFailsLeavesTheStoreAsItWas) {
  TempFolder folder;
  const auto file = folder.path() / "store.db";
  Database database(file, Database::Mode::kReadWrite);
  MigrateWith(database, {"CREATE TABLE a(x INTEGER) STRICT"});
  EXPECT_NE(ErrorOf([&] {
              MigrateWith(database, {"", "CREATE TABLE b(x); CREATE TABLE a(x)"});
            }),
            "");
  EXPECT_FALSE(database.Query("SELECT 1 FROM sqlite_master WHERE name = 'b'").Next());
  MigrateWith(database, {"", "CREATE TABLE b(x)"});
}

}  // namespace
}  // namespace syncbn::coordinator
