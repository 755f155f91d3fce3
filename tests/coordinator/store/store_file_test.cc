// The store as a file: copies, versions, its log of changes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <thread>

#include "coordinator/store/store.h"
#include "coordinator/store/store_schema.h"
#include "tests/coordinator/store/store_fixture.h"
#include "tests/support/temp_folder.h"

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

TEST(Store, ItsLogOfChangesIsCutToItsUsualSizeAfterALongReadAndEmptyAtTheEnd) {
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
  EXPECT_EQ(std::filesystem::file_size(log), 0u);
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
        "DROP TABLE blocks; DROP TABLE study_jobs; DROP TABLE study_results; DROP TABLE "
        "study_files; DROP TABLE "
        "studies; "
        "ALTER TABLE series DROP COLUMN min_value; ALTER TABLE series DROP COLUMN max_value; "
        "PRAGMA user_version = 3");
  }
  Reopen();
  EXPECT_EQ(best().best_accuracy(), 0.75);
}

TEST_F(StoreTest, AnOlderStoreKeepsWhichJobsItsStudiesTrialsBecame) {
  store->Write([](Tables& tables) {
    tables.studies.Create(1, {}, {}, {}, kTestNow);
    tables.studies.AddTrial(1, "a", 7);
    tables.studies.SetPaused(7, true);
  });
  const auto file = store->folder() / "store.db";
  store.reset();
  {
    Database database(file, Database::Mode::kReadWrite);
    database.Execute(
        "CREATE TABLE study_trials(study INTEGER NOT NULL REFERENCES studies(id) ON DELETE "
        "CASCADE, "
        "trial TEXT NOT NULL, job INTEGER NOT NULL, paused INTEGER NOT NULL, "
        "PRIMARY KEY (study, trial)) STRICT, WITHOUT ROWID; "
        "INSERT INTO study_trials SELECT study, trial, job, paused FROM study_jobs; "
        "DROP TABLE blocks; DROP TABLE study_jobs; DROP TABLE study_results; DROP INDEX "
        "ended_studies; "
        "PRAGMA user_version = 5");
  }
  Reopen();
  store->Read([](Tables& tables) {
    const std::optional<StudyTrial> trial = tables.studies.Trial(1, "a");
    ASSERT_TRUE(trial);
    EXPECT_EQ(trial->job, 7);
    EXPECT_TRUE(trial->paused);
    EXPECT_EQ(tables.studies.OfJob(7)->study, 1);
  });
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
