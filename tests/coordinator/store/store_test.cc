// The store: what is written is there, once, under its owner, through versions and full disks.
#include "coordinator/store/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "coordinator/store/store_schema.h"
#include "tests/coordinator/store/store_fixture.h"
#include "tests/support/temp_folder.h"
#include "tests/train/full_disk.h"

namespace syncbn::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class StoreTest : public ::testing::Test {
 protected:
  void Reopen() {
    store.reset();
    store = std::make_unique<Store>(Store::Options{.folder = folder.path() / "data"});
  }

  TempFolder folder;
  std::unique_ptr<Store> store =
      std::make_unique<Store>(Store::Options{.folder = folder.path() / "data"});
};

TEST_F(StoreTest, AJobIsTheSameAfterTheStoreIsOpenedAgain) {
  v1::Job spec = TestSpec();
  (*spec.mutable_labels())["team"] = "vision";
  spec.mutable_resources()->set_priority(7);
  const int64_t id = AddJob(*store, spec);
  ApplyTo(*store, id, {.kind = EventKind::kPlaced});
  ApplyTo(*store, id, {.kind = EventKind::kRegistered});
  Failure failure{.failure_class = FailureClass::kStall,
                  .message = "rank 3 stands still",
                  .rank = 3,
                  .host = "node2",
                  .signal = 9,
                  .exit_code = 137,
                  .excerpt = "a\nb",
                  .ranks = {3, 5},
                  .attempt = 1};
  ApplyTo(*store, id, {.kind = EventKind::kStalled, .failure = failure},
          kTestNow + std::chrono::seconds(5));
  auto read = [&] { return store->Read([&](Tables& tables) { return tables.jobs.Get(id); }); };
  const JobRecord before = read();
  EXPECT_EQ(before.status.cause, failure);
  EXPECT_EQ(before.start_time, kTestNow);
  const std::string store_id = store->id();
  Reopen();
  const JobRecord after = read();
  EXPECT_EQ(after.status, before.status);
  EXPECT_EQ(after.spec.SerializeAsString(), before.spec.SerializeAsString());
  EXPECT_EQ(after.revision, 4);
  EXPECT_EQ(store->id(), store_id);
  const RunFileText text = store->Read([&](Tables& tables) { return tables.jobs.RunFile(id); });
  EXPECT_EQ(text.text, "seed: 1\n");
  EXPECT_EQ(text.effective, "seed: 1  # run.yaml:1\n");
}

TEST_F(StoreTest, TheHistoryTellsWhoDidWhatWhenAndWhy) {
  const int64_t id = AddJob(*store), other = AddJob(*store);
  store->Write([&](Tables& tables) {
    const JobRecord job = tables.jobs.Get(id);
    const Outcome outcome = Apply(job.status, {.kind = EventKind::kCancel}, {}, MomentAt(kTestNow));
    tables.jobs.Update(id, outcome.status, {"bert", "CANCEL", "wrong data"}, kTestNow);
  });
  const auto history = store->Read([&](Tables& tables) { return tables.jobs.History(id, 0, 10); });
  ASSERT_EQ(history.size(), 2u);
  EXPECT_EQ(history[0].event(), "CREATE");
  EXPECT_EQ(history[0].actor(), "anna");
  EXPECT_EQ(history[1].actor(), "bert");
  EXPECT_EQ(history[1].reason(), "wrong data");
  EXPECT_EQ(history[1].from_state(), v1::Job::QUEUED);
  EXPECT_EQ(history[1].to_state(), v1::Job::CANCELLED);
  EXPECT_EQ(history[1].job(), JobName(id));
  const auto all =
      store->Read([&](Tables& tables) { return tables.jobs.History(std::nullopt, 1, 10); });
  ASSERT_EQ(all.size(), 2u) << "after entry 1: the other job's and the cancel";
  EXPECT_EQ(all[0].job(), JobName(other));
}

TEST_F(StoreTest, AWriteThatThrowsLeavesNothingAndTakesNothingFromOthers) {
  std::atomic<int> failed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&, i] {
      try {
        store->Write([&](Tables& tables) {
          tables.jobs.Create(TestSpec("job" + std::to_string(i)), {},
                             NewJob({}, MomentAt(kTestNow)), {"a", "CREATE", ""}, kTestNow);
          if (i % 2 == 0) throw Error(ErrorCode::kAborted, "no");
        });
      } catch (const Error& error) {
        EXPECT_EQ(error.message(), "no");
        ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 8);
  const JobPage page =
      store->Read([](Tables& tables) { return tables.jobs.List({}, {.jobs = 100}, ""); });
  ASSERT_EQ(page.jobs.size(), 8u);
  for (const JobRecord& job : page.jobs) {
    EXPECT_EQ(std::stoi(job.spec.display_name().substr(3)) % 2, 1);
  }
}

TEST_F(StoreTest, AReadSeesOneMoment) {
  AddJob(*store);
  store->Read([&](Tables& tables) {
    EXPECT_EQ(tables.jobs.Count(), 1);
    std::thread([&] { AddJob(*store); }).join();
    EXPECT_EQ(tables.jobs.Count(), 1);
  });
  EXPECT_EQ(store->Read([](Tables& tables) { return tables.jobs.Count(); }), 2);
}

TEST_F(StoreTest, AReadCannotWrite) {
  EXPECT_THAT(ErrorOf([&] {
                store->Read([](Tables& tables) { tables.database.Run("DELETE FROM jobs"); });
              }),
              HasSubstr("readonly"));
}

TEST_F(StoreTest, ARequestThatComesTwiceGetsTheFirstAnswer) {
  int calls = 0;
  auto body = [&](Tables&) { return "answer " + std::to_string(++calls); };
  const RequestKey key{.actor = "anna", .id = "one", .method = "CreateJob", .digest = "d1"};
  EXPECT_EQ(store->Mutate(key, kTestNow, body), "answer 1");
  EXPECT_EQ(store->Mutate(key, kTestNow, body), "answer 1");
  Reopen();
  EXPECT_EQ(store->Mutate(key, kTestNow, body), "answer 1");
  RequestKey different = key;
  different.digest = "d2";
  EXPECT_EQ(ErrorOf([&] { store->Mutate(different, kTestNow, body); }),
            "ALREADY_EXISTS: request_id 'one' was used before for a different request (CreateJob): "
            "choose a new one");
  RequestKey of_another = key;
  of_another.actor = "bert";
  EXPECT_EQ(store->Mutate(of_another, kTestNow, body), "answer 2");
  RequestKey without = key;
  without.id = "";
  EXPECT_EQ(store->Mutate(without, kTestNow, body), "answer 3");
  EXPECT_EQ(store->Mutate(without, kTestNow, body), "answer 4");
}

TEST_F(StoreTest, ARequestThatFailedCanBeSentAgain) {
  const RequestKey key{.actor = "anna", .id = "one", .method = "CreateJob", .digest = "d1"};
  EXPECT_EQ(ErrorOf([&] {
              store->Mutate(key, kTestNow,
                            [](Tables&) -> std::string { throw Error(ErrorCode::kAborted, "no"); });
            }),
            "ABORTED: no");
  EXPECT_EQ(store->Mutate(key, kTestNow, [](Tables&) { return std::string("yes"); }), "yes");
}

TEST_F(StoreTest, ListsGoFromNewestToOldestThroughAllPages) {
  for (int i = 0; i < 25; ++i) AddJob(*store, TestSpec("job" + std::to_string(i)));
  std::vector<int64_t> seen;
  std::string token;
  int pages = 0;
  do {
    const JobPage page =
        store->Read([&](Tables& tables) { return tables.jobs.List({}, {.jobs = 10}, token); });
    for (const JobRecord& job : page.jobs) seen.push_back(job.id);
    token = page.next_page_token;
    ++pages;
    AddJob(*store);  // newer than what is being listed: it must not shift the pages
  } while (!token.empty());
  EXPECT_EQ(pages, 3);
  ASSERT_EQ(seen.size(), 25u);
  for (size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], 25 - static_cast<int64_t>(i));
}

TEST_F(StoreTest, APageTokenOfAnotherFilterIsRefused) {
  for (int i = 0; i < 3; ++i) AddJob(*store);
  const std::string token =
      store->Read([](Tables& tables) { return tables.jobs.List({}, {.jobs = 2}, ""); })
          .next_page_token;
  const JobFilter other = JobFilter::Parse("state = QUEUED");
  EXPECT_EQ(
      ErrorOf([&] {
        store->Read([&](Tables& tables) { tables.jobs.List(other, {.jobs = 2}, token); });
      }),
      "INVALID_ARGUMENT: page token '" + token + "' is not of a list with this filter: start anew");
}

TEST_F(StoreTest, OnlyAnEndedJobCanBeDeletedAndItsHistoryEndsWithThat) {
  const int64_t id = AddJob(*store);
  const Deed deed{"admin", "DELETE", ""};
  EXPECT_EQ(ErrorOf([&] {
              store->Write([&](Tables& tables) { tables.jobs.Delete(id, deed, kTestNow); });
            }),
            "FAILED_PRECONDITION: jobs/1 is QUEUED: only a job that has ended can be deleted; "
            "cancel it first");
  ApplyTo(*store, id, {.kind = EventKind::kCancel});
  store->Write([&](Tables& tables) { tables.jobs.Delete(id, deed, kTestNow); });
  EXPECT_EQ(ErrorOf([&] { store->Read([&](Tables& tables) { tables.jobs.Get(id); }); }),
            "NOT_FOUND: there is no job jobs/1");
  const auto history = store->Read([&](Tables& tables) { return tables.jobs.History(id, 0, 10); });
  ASSERT_EQ(history.size(), 1u);
  EXPECT_EQ(history[0].event(), "DELETE");
  EXPECT_EQ(history[0].sequence(), 3) << "numbers are never used again";
  EXPECT_EQ(AddJob(*store), 2) << "names neither";
}

TEST_F(StoreTest, AttemptsKeepTheirRanksAndTheFirstExitReport) {
  const int64_t id = AddJob(*store);
  const AttemptId attempt{id, 1};
  v1::Attempt record;
  record.set_name(AttemptName(id, 1));
  store->Write([&](Tables& tables) {
    tables.attempts.Begin(attempt, record, std::string("\0secret", 7));
    tables.attempts.PutRank(attempt, 0, "node1", 100);
    tables.attempts.PutRank(attempt, 1, "node2", 200);
    tables.attempts.PutRank(attempt, 1, "node2", 201);
    v1::RankExit exit;
    exit.set_outcome(v1::ATTEMPT_OUTCOME_FAILED);
    exit.set_message("first");
    tables.attempts.PutRankExit(attempt, 1, exit);
    exit.set_message("second");
    tables.attempts.PutRankExit(attempt, 1, exit);
    tables.attempts.PutRankExit(attempt, 2, exit);  // never registered
  });
  store->Read([&](Tables& tables) {
    EXPECT_EQ(tables.attempts.TokenHash(attempt), std::string("\0secret", 7));
    EXPECT_EQ(tables.attempts.RegisteredRanks(attempt), 2);
    EXPECT_EQ(tables.attempts.RankExits(attempt).size(), 2u);
    const v1::Attempt stored = tables.attempts.Get(attempt);
    ASSERT_EQ(stored.ranks_size(), 3);
    EXPECT_EQ(stored.ranks(1).pid(), 201);
    EXPECT_EQ(stored.ranks(1).message(), "first");
    EXPECT_EQ(ErrorOf([&] {
                tables.attempts.Get({id, 2});
              }),
              "NOT_FOUND: there is no jobs/1/attempts/2");
  });
}

TEST_F(StoreTest, HostsAreRememberedWithTheirFailures) {
  HostHealth health{.name = "node1",
                    .drained = true,
                    .reason = "disk",
                    .exclusions = 2,
                    .excluded_until = MomentAt(kTestNow).durable,
                    .failures = {{MomentAt(kTestNow).durable, "jobs/1/attempts/1", "gone"},
                                 {MomentAt(kTestNow).durable, "jobs/2/attempts/1", "gone"}}};
  store->Write([&](Tables& tables) { tables.hosts.Put(health); });
  Reopen();
  store->Read([&](Tables& tables) {
    EXPECT_EQ(tables.hosts.Get("node1"), health);
    EXPECT_EQ(tables.hosts.Get("node2"), HostHealth{.name = "node2"});
  });
}

TEST_F(StoreTest, WatchersAreToldAfterTheCommitAndOnlyOfWhatConcernsThem) {
  const int64_t id = AddJob(*store);
  std::atomic<int> of_job = 0, of_all = 0, metrics = 0;
  // A write may return before watchers are told of it, but not before they are told of the last one.
  const auto tell = [&] { store->Write([](Tables&) {}); };
  tell();
  {
    auto a = store->changes().Subscribe(Change::Kind::kJob, id, [&] { ++of_job; });
    auto b = store->changes().Subscribe(Change::Kind::kJob, std::nullopt, [&] { ++of_all; });
    auto c = store->changes().Subscribe(Change::Kind::kMetrics, id, [&] { ++metrics; });
    AddJob(*store);
    tell();
    EXPECT_EQ(of_job, 0);
    EXPECT_EQ(of_all, 1);
    store->Write([&](Tables& tables) {
      tables.metrics.Insert({id, 1, 0}, TestBatch(1, 4), kTestNow);
    });
    tell();
    EXPECT_EQ(metrics, 1);
    ErrorOf([&] {
      store->Write([&](Tables& tables) {
        tables.jobs.UpdateProgress(id, {});
        throw Error(ErrorCode::kAborted, "no");
      });
    });
    tell();
    EXPECT_EQ(of_job, 0) << "what was rolled back is not told";
    ApplyTo(*store, id, {.kind = EventKind::kCancel});
    tell();
    EXPECT_EQ(of_job, 1);
  }
  ApplyTo(*store, id, {.kind = EventKind::kRetry});
  tell();
  EXPECT_EQ(of_job, 1) << "the subscription has ended";
}

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
  EXPECT_FALSE(store->IsInPlace());
  EXPECT_TRUE(second.IsInPlace());
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
