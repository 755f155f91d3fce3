// The data folder of a store: what is missing, damaged, or another's, and who has it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <future>

#include "coordinator/api_error.h"
#include "coordinator/store/store.h"
#include "tests/coordinator/store/store_fixture.h"

namespace syncbn::coordinator {
namespace {

using ::testing::HasSubstr;

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
  EXPECT_THAT(
      ErrorOfOpening(),
      HasSubstr("store.db is a folder: move it away. To go on with an earlier store, copy a "
                "backup of yours (none is left in " +
                (data / "backups").string() + ") to "));
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

// A part of a file that another process holds; it is let go at the end.
class LockedElsewhere {
 public:
  LockedElsewhere(const std::filesystem::path& file, off_t begin, off_t bytes) {
    int ready[2], end[2];
    EXPECT_EQ(::pipe(ready), 0);
    EXPECT_EQ(::pipe(end), 0);
    child_ = ::fork();
    if (child_ == 0) {
      ::close(end[1]);
      struct flock lock = Range(F_WRLCK, begin, bytes);
      const int descriptor = ::open(file.c_str(), O_RDWR);
      const char held = ::fcntl(descriptor, F_SETLKW, &lock) == 0 ? 'y' : 'n';
      char none = 0;
      ::_exit(::write(ready[1], &held, 1) == 1 && ::read(end[0], &none, 1) == 0 ? 0 : 1);
    }
    ::close(ready[1]), ::close(end[0]);
    char held = 'n';
    EXPECT_EQ(::read(ready[0], &held, 1), 1);
    EXPECT_EQ(held, 'y');
    ::close(ready[0]);
    end_ = end[1];
  }
  ~LockedElsewhere() {
    ::close(end_);
    ::waitpid(child_, nullptr, 0);
  }
  static struct flock Range(short type, off_t begin, off_t bytes) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = begin;
    lock.l_len = bytes;
    return lock;
  }

 private:
  pid_t child_ = 0;
  int end_ = -1;
};

// SQLite's file format: where it locks a database, and the index of its log.
constexpr off_t kSharedFirst = 0x40000002, kSharedBytes = 510, kIndexLocks = 120, kIndexBytes = 8;

TEST_F(DataFolderTest, WhileWhatWasIsSavedItIsKnownAtOnceThatTheStoreIsLost) {
  std::future<std::string> writing;
  {
    // Nobody can read the store, so that saving it takes as long as is wanted here.
    const LockedElsewhere held(data / "store.db-shm", kIndexLocks, kIndexBytes);
    std::filesystem::remove(data / "store.db");
    writing = std::async(std::launch::async, [&] { return ErrorOfWriting(); });
    const auto is_over = [&] {
      return writing.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    };
    while (store->WhyLost().find("is being saved") == std::string::npos && !is_over()) {
    }
    EXPECT_THAT(ErrorOfWriting(), HasSubstr("is being saved"));
    EXPECT_THAT(ErrorOf([&] { store->CheckInPlace(); }), HasSubstr("is being saved"));
    EXPECT_FALSE(is_over());
  }
  const std::string text = writing.get();
  EXPECT_THAT(text, HasSubstr("what was is saved"));
  EXPECT_THAT(text, HasSubstr(store->WhyLost()));
}

TEST_F(DataFolderTest, OtherProcessesSeeThatTheStoreIsInUseAlsoAfterACopyOfIt) {
  const auto seen_elsewhere = [&] {
    const pid_t child = ::fork();
    if (child == 0) {
      struct flock lock = LockedElsewhere::Range(F_WRLCK, kSharedFirst, kSharedBytes);
      ::fcntl(::open((data / "store.db").c_str(), O_RDWR), F_GETLK, &lock);
      ::_exit(lock.l_type == F_UNLCK ? 1 : 0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return status == 0;
  };
  EXPECT_TRUE(seen_elsewhere());
  BackUp();
  EXPECT_TRUE(seen_elsewhere());
  Close();
  EXPECT_FALSE(seen_elsewhere());
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

}  // namespace
}  // namespace syncbn::coordinator
