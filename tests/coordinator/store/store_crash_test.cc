// The store after its process was killed in the middle of writing: what was acknowledged is there,
// once, and it opens as if nothing had happened.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <random>
#include <thread>

#include "tests/coordinator/store/store_fixture.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {
namespace {

constexpr int kRanks = 3;

// What the child tells after an acknowledgement: small enough that a write to a pipe is one piece.
struct Acknowledgement {
  int rank;          // kRanks: a job
  int64_t sequence;  // of a rank
  int64_t job;       // created with request id `job-{job}`
};

// Writes metrics and jobs for ever, and tells the parent of everything that was acknowledged.
[[noreturn]] void WriteUntilKilled(const std::filesystem::path& folder, int64_t job, int pipe) {
  try {
    Store store({.folder = folder});
    auto tell = [&](Acknowledgement what) {
      if (::write(pipe, &what, sizeof what) != sizeof what) ::_exit(3);
    };
    std::vector<std::thread> threads;
    for (int rank = 0; rank < kRanks; ++rank) {
      threads.emplace_back([&, rank] {
        int64_t next = 1 + store.Read([&](Tables& tables) {
          return tables.metrics.Acknowledged({job, 1, rank});
        });
        while (true) {
          next = 1 + store.Write([&](Tables& tables) {
            return tables.metrics.Insert({job, 1, rank}, TestBatch(next, 40), kTestNow);
          });
          tell({rank, next - 1, 0});
        }
      });
    }
    while (true) {
      const int64_t count = store.Read([](Tables& tables) { return tables.jobs.Count(); });
      const RequestKey key{"anna", "job-" + std::to_string(count + 1), "CreateJob", "d"};
      const std::string answer = store.Mutate(key, kTestNow, [](Tables& tables) {
        const int64_t id =
            tables.jobs.Create(TestSpec(), {"a", "b"}, NewJob({}, MomentAt(kTestNow)),
                               {"anna", "CREATE", ""}, kTestNow);
        const Outcome outcome =
            Apply(tables.jobs.Get(id).status, {.kind = EventKind::kPlaced}, {}, MomentAt(kTestNow));
        tables.jobs.Update(id, outcome.status, {"scheduler", "PLACED", ""}, kTestNow);
        tables.attempts.Begin({id, 1}, {}, "hash");
        return std::to_string(id);
      });
      tell({kRanks, 0, std::stoll(answer)});
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "child: %s\n", error.what());
    ::_exit(4);
  }
}

TEST(StoreCrash, WhatWasAcknowledgedBeforeASigkillIsThereOnce) {
  TempFolder folder;
  int64_t job = 0;
  {
    Store store({.folder = folder.path()});
    job = AddJob(store);
  }
  std::mt19937 random(11);
  int64_t acknowledged[kRanks] = {};
  int64_t newest_job = job;
  for (int round = 0; round < 15; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(ends[0]);
      WriteUntilKilled(folder.path(), job, ends[1]);
    }
    ::close(ends[1]);
    const auto hear = [&] {
      Acknowledgement one{};
      if (::read(ends[0], &one, sizeof one) != sizeof one) return false;
      if (one.rank == kRanks) {
        newest_job = std::max(newest_job, one.job);
      } else {
        acknowledged[one.rank] = std::max(acknowledged[one.rank], one.sequence);
      }
      return true;
    };
    // From the very start of the child (opening, migrating) to the middle of many writes, however
    // long a disk takes for one.
    if (round % 3 != 0) {
      for (int i = 0; i < 12; ++i) ASSERT_TRUE(hear()) << "the child ended by itself";
    }
    std::this_thread::sleep_for(
        std::chrono::microseconds(random() % (round % 3 == 0 ? 30'000 : 100'000)));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << WEXITSTATUS(status);
    while (hear()) {
    }
    ::close(ends[0]);

    Store store({.folder = folder.path()});
    store.Read([&](Tables& tables) {
      Rows check = tables.database.Query("PRAGMA integrity_check");
      ASSERT_TRUE(check.Next());
      EXPECT_EQ(check.Text(0), "ok");
      for (int rank = 0; rank < kRanks; ++rank) {
        const int64_t durable = tables.metrics.Acknowledged({job, 1, rank});
        EXPECT_GE(durable, acknowledged[rank]);
        Rows rows = tables.database.Query(
            "SELECT count(*), count(DISTINCT sequence), coalesce(max(sequence), 0) FROM points "
            "JOIN series ON "
            "series = id WHERE job = ? AND rank = ?",
            job, rank);
        ASSERT_TRUE(rows.Next());
        EXPECT_EQ(rows.Int(0), durable);
        EXPECT_EQ(rows.Int(1), durable);
        EXPECT_EQ(rows.Int(2), durable);
      }
      // Every job is whole: its two transitions and its attempt came with it, or nothing did.
      const int64_t jobs = tables.jobs.Count();
      EXPECT_GE(jobs, newest_job);
      for (int64_t id = job + 1; id <= jobs; ++id) {
        EXPECT_EQ(tables.jobs.Get(id).status.state, JobState::kStarting);
        EXPECT_EQ(tables.jobs.History(id, 0, 10).size(), 2u);
        EXPECT_EQ(tables.attempts.List(id).attempts.size(), 1u);
      }
    });
    // The request in flight when it died, sent again: the answer is the same and nothing new is
    // made.
    const int64_t jobs = store.Read([](Tables& tables) { return tables.jobs.Count(); });
    if (jobs > job) {
      EXPECT_EQ(store.Mutate({"anna", "job-" + std::to_string(jobs), "CreateJob", "d"}, kTestNow,
                             [](Tables&) -> std::string { return "made anew"; }),
                std::to_string(jobs));
    }
    if (HasFailure()) break;
  }
  EXPECT_GT(acknowledged[0], 100);
  EXPECT_GT(newest_job, job + 3);
}

}  // namespace
}  // namespace syncbn::coordinator
