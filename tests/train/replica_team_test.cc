#include "train/replica_team.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <set>

#include "base/error.h"

namespace syncbn::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ReplicaTeam, RunsTheBodyOnceForEveryReplicaAlwaysOnItsOwnThread) {
  ReplicaTeam team({.first_replica = 5, .count = 4});
  std::mutex mutex;
  std::map<int, std::set<std::thread::id>> threads;
  std::map<int, int> runs;
  for (int round = 0; round < 10; ++round) {
    team.Run([&](int replica) {
      const std::lock_guard lock(mutex);
      threads[replica].insert(std::this_thread::get_id());
      ++runs[replica];
    });
  }
  ASSERT_THAT(runs, ElementsAre(std::pair(5, 10), std::pair(6, 10), std::pair(7, 10), std::pair(8, 10)));
  std::set<std::thread::id> all;
  for (const auto& [replica, ids] : threads) {
    EXPECT_EQ(ids.size(), 1u) << replica;
    all.insert(ids.begin(), ids.end());
  }
  EXPECT_EQ(all.size(), 4u);
}

TEST(ReplicaTeam, OfOneReplicaRunsOnTheCallersThread) {
  ReplicaTeam team({.first_replica = 3});
  std::thread::id seen;
  team.Run([&](int replica) {
    EXPECT_EQ(replica, 3);
    seen = std::this_thread::get_id();
  });
  EXPECT_EQ(seen, std::this_thread::get_id());
}

TEST(ReplicaTeam, RethrowsTheFirstFailureWithItsReplicaWhenAllHaveEnded) {
  std::atomic<bool> failed{false};
  std::vector<int> told;
  ReplicaTeam team({.count = 3, .on_failure = [&](int replica, const std::exception& failure) {
                      told.push_back(replica);
                      EXPECT_THAT(failure.what(), HasSubstr("sample 41"));
                      failed = true;
                    }});
  std::atomic<int> ended{0};
  try {
    team.Run([&](int replica) {
      if (replica == 1) throw Error(ErrorCode::kDataLoss, "sample 41 is damaged");
      // Released by the first failure, as waits for the replica that failed are.
      while (!failed) std::this_thread::yield();
      ++ended;
      throw Error(ErrorCode::kAborted, "another one failed");
    });
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDataLoss);
    EXPECT_THAT(error.what(), HasSubstr("in replica 1"));
  }
  EXPECT_EQ(ended, 2);
  EXPECT_THAT(told, ElementsAre(1));
  // It is over with that: the next round is a new one.
  EXPECT_NO_THROW(team.Run([](int) {}));
}

TEST(ReplicaTeam, KeepsTheTypeOfAFailureAndTurnsForeignOnesIntoErrors) {
  struct Special : Error {
    Special() : Error(ErrorCode::kAborted, "special") {}
  };
  for (const int count : {1, 2}) {
    ReplicaTeam team({.count = count});
    EXPECT_THROW(team.Run([](int) { throw Special(); }), Special);
    try {
      team.Run([](int) { throw std::bad_alloc(); });
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
    }
  }
}

TEST(ReplicaTeam, WhatIsThrownAndIsNoExceptionOfTheLibraryIsAnErrorOfItsReplica) {
  for (const int count : {1, 2}) {
    ReplicaTeam team({.count = count});
    try {
      team.Run([](int) { throw 7; });
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInternal);
    }
  }
}

TEST(ReplicaTeam, LooksAfterItsReplicasUntilAllHaveEndedAndKnowsTheFirstFailure) {
  std::atomic<bool> looked{false}, failure_seen{false};
  const std::thread::id caller = std::this_thread::get_id();
  ReplicaTeam team({.count = 2,
                    .on_look =
                        [&](std::exception_ptr failure) {
                          EXPECT_EQ(std::this_thread::get_id(), caller);
                          looked = true;
                          if (failure) failure_seen = true;
                        },
                    .look_every = std::chrono::milliseconds(1)});
  EXPECT_THROW(team.Run([&](int replica) {
    while (!looked) std::this_thread::yield();
    if (replica == 0) throw Error(ErrorCode::kInternal, "broken");
    while (!failure_seen) std::this_thread::yield();
  }),
               Error);
}

}  // namespace
}  // namespace syncbn::train
