// The gate through which replicas come to their workspaces.
#include "train/executor_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "base/error.h"
#include "tests/support/test_device.h"

namespace syncbn::train {
namespace {

using testing::ElementsAre;

class ExecutorPoolTest : public testing::Test {
 protected:
  // Runs body(replica) on a thread for each of replicas [first, first + count), last one first.
  static void OnThreads(int first, int count, const std::function<void(int replica)>& body) {
    std::vector<std::jthread> threads;
    for (int replica = first + count - 1; replica >= first; --replica) {
      threads.emplace_back([&, replica] { body(replica); });
    }
  }

  const std::unique_ptr<backend::Backend> backend_ =
      backend::OnTestDevice(backend::MakeReferenceBackend);
};

TEST_F(ExecutorPoolTest, WithOneForEachNobodyWaitsAndEachHasTheSameAlways) {
  ExecutorPool pool(*backend_, 4, 3, 8);
  EXPECT_EQ(pool.size(), 3);
  std::vector<const backend::Executor*> seen;
  for (int round = 0; round < 2; ++round) {
    pool.BeginRound();
    // In any order, while all are held.
    const ExecutorPool::Lease c = pool.Acquire(6), a = pool.Acquire(4), b = pool.Acquire(5);
    seen.insert(seen.end(), {&a.executor(), &b.executor(), &c.executor()});
  }
  EXPECT_EQ(std::set(seen.begin(), seen.end()).size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(seen[i], seen[i + 3]);
}

TEST_F(ExecutorPoolTest, AdmitsReplicasInTheOrderOfTheirNumbers) {
  ExecutorPool pool(*backend_, 2, 6, 1);
  for (int round = 0; round < 3; ++round) {
    pool.BeginRound();
    std::vector<int> admitted;
    OnThreads(2, 6, [&](int replica) {
      const ExecutorPool::Lease lease = pool.Acquire(replica);
      admitted.push_back(replica);  // one at a time
    });
    EXPECT_THAT(admitted, ElementsAre(2, 3, 4, 5, 6, 7));
  }
}

TEST_F(ExecutorPoolTest, NeverLendsMoreWorkspacesThanThereAre) {
  ExecutorPool pool(*backend_, 0, 16, 3);
  EXPECT_EQ(pool.size(), 3);
  pool.BeginRound();
  std::atomic<int> held{0}, most{0};
  std::atomic<int> admitted{0};
  OnThreads(0, 16, [&](int replica) {
    const ExecutorPool::Lease lease = pool.Acquire(replica);
    ++admitted;
    int seen = ++held;
    for (int old = most; old < seen && !most.compare_exchange_weak(old, seen);) {
    }
    // The first three meet.
    while (replica < 3 && admitted < 3) std::this_thread::yield();
    --held;
  });
  EXPECT_EQ(most, 3);
  EXPECT_EQ(admitted, 16);
}

TEST_F(ExecutorPoolTest, AMovedLeaseIsGivenBackOnce) {
  ExecutorPool pool(*backend_, 0, 2, 1);
  pool.BeginRound();
  {
    ExecutorPool::Lease lease = pool.Acquire(0);
    const ExecutorPool::Lease moved = std::move(lease);
    EXPECT_EQ(&moved.executor(), pool.executors()[0].get());
  }
  { const ExecutorPool::Lease lease = pool.Acquire(1); }
  EXPECT_NO_THROW(pool.BeginRound());
}

TEST_F(ExecutorPoolTest, ARoundCannotBeginWhileAWorkspaceIsHeld) {
  ExecutorPool pool(*backend_, 0, 2, 1);
  pool.BeginRound();
  const ExecutorPool::Lease lease = pool.Acquire(0);
  EXPECT_THROW(pool.BeginRound(), Error);
}

TEST_F(ExecutorPoolTest, BrokenItFailsWhoWaitsAndWhoComesLaterWithTheGivenError) {
  ExecutorPool pool(*backend_, 0, 4, 1);
  pool.BeginRound();
  const ExecutorPool::Lease held = pool.Acquire(0);
  std::atomic<int> failed{0};
  {
    std::vector<std::jthread> threads;
    for (int replica = 1; replica < 4; ++replica) {
      threads.emplace_back([&, replica] {
        try {
          pool.Acquire(replica);
        } catch (const Error& error) {
          EXPECT_EQ(error.message(), "replica 0 stands still");
          ++failed;
        }
      });
    }
    pool.Break([] { throw Error(ErrorCode::kDeadlineExceeded, "replica 0 stands still"); });
  }
  EXPECT_EQ(failed, 3);
}

}  // namespace
}  // namespace syncbn::train
