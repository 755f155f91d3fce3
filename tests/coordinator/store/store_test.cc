// The store: what is written is there, once, under its owner.
#include "coordinator/store/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/coordinator/store/store_fixture.h"

namespace syncbn::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

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
  const TransitionCause cause{"admin", "DELETE", ""};
  EXPECT_EQ(ErrorOf([&] {
              store->Write([&](Tables& tables) { tables.jobs.Delete(id, cause, kTestNow); });
            }),
            "FAILED_PRECONDITION: jobs/1 is QUEUED: only a job that has ended can be deleted; "
            "cancel it first");
  ApplyTo(*store, id, {.kind = EventKind::kCancel});
  store->Write([&](Tables& tables) { tables.jobs.Delete(id, cause, kTestNow); });
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

}  // namespace
}  // namespace syncbn::coordinator
