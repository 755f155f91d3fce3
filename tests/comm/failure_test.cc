// What happens when replicas fail, disagree, stall or leave: every wait ends, with the right cause.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <thread>

#include "comm/progress_board.h"
#include "comm/stall.h"
#include "tests/support/run_replicas.h"

namespace syncbn::comm {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Reduction Sum(Group group, std::string_view name, int64_t elements = 3) {
  return {.group = group,
          .contribution = Tensor::Zeros({elements}, DType::kFloat64),
          .name = name};
}

// Runs body on all replicas; the errors in the order in which they came.
std::vector<Error> ErrorsOf(const ReducerOptions& options, int processes,
                            const std::function<void(ReplicaLink)>& body) {
  std::vector<Error> errors;
  InProcessReducers reducers(processes, options);
  RunReplicas(reducers, body, errors);
  return errors;
}

TEST(Failure, AReplicaThatFailsEndsPresentAndFutureWaitsEverywhere) {
  for (const int processes : {1, 2, 4}) {
    const std::vector<Error> errors =
        ErrorsOf({.replicas = 4}, processes, [](ReplicaLink link) {
          if (link.replica == 2) throw Error(ErrorCode::kDataLoss, "sample 41 is damaged");
          if (link.replica == 3) {
            // In another group, and later.
            std::this_thread::sleep_for(50ms);
            link.Reduce(Sum({2, 4}, "late"));
          } else {
            link.Reduce(Sum({0, 4}, "x"));
          }
        });
    ASSERT_EQ(errors.size(), 4u);
    EXPECT_EQ(errors[0].code(), ErrorCode::kDataLoss);
    for (size_t i = 1; i < 4; ++i) {
      EXPECT_EQ(errors[i].code(), ErrorCode::kAborted);
      EXPECT_THAT(errors[i].what(), HasSubstr("replica 2 (rank "));
      EXPECT_THAT(errors[i].what(), HasSubstr("failed: sample 41 is damaged"));
    }
  }
}

TEST(Failure, ReplicasThatReduceDifferentThingsAreNamed) {
  for (const int processes : {1, 2, 4}) {
    const std::vector<Error> errors =
        ErrorsOf({.replicas = 4}, processes, [&](ReplicaLink link) {
          link.Reduce(Sum({0, 4}, "same"));
          link.Reduce(link.replica == 3 ? Sum({0, 4}, "layer2.bn1 forward", 33)
                                        : Sum({0, 4}, "layer1.bn1 forward", 17));
        });
    ASSERT_EQ(errors.size(), 4u) << processes;
    const std::string rank = std::to_string(processes - 1);
    for (const Error& error : errors) {
      EXPECT_EQ(error.code(), ErrorCode::kInternal);
      EXPECT_THAT(error.what(), AllOf(HasSubstr("rank " + rank + " replica 3"),
                                      HasSubstr("'layer2.bn1 forward' (33 doubles, sum)"),
                                      HasSubstr("'layer1.bn1 forward' (17 doubles, sum)"),
                                      HasSubstr("both as reduction 1 of replicas 0..3")));
    }
  }
}

TEST(Failure, TypesOperationsAndChannelsMustAgreeToo) {
  const std::vector<int64_t> one = {1, 3}, other = {3, 1};
  const auto moments = [](std::span<const int64_t> channels) {
    return Reduction{.operation = Operation::kMergeMoments,
                     .group = {0, 2},
                     .contribution = Tensor::Zeros({10}, DType::kFloat64),
                     .channels = channels,
                     .name = "x"};
  };
  const auto floats = [] {
    return Reduction{
        .group = {0, 2}, .contribution = Tensor::Zeros({10}, DType::kFloat32), .name = "x"};
  };
  const std::vector<std::pair<Reduction, Reduction>> pairs = {
      {moments(one), moments(other)}, {moments(one), Sum({0, 2}, "x", 10)}, {floats(), Sum({0, 2}, "x", 10)}};
  for (const auto& [first, second] : pairs) {
    for (const int processes : {1, 2}) {
      const std::vector<Error> errors = ErrorsOf({.replicas = 2}, processes, [&](ReplicaLink link) {
        link.Reduce(link.replica == 0 ? first : second);
      });
      ASSERT_EQ(errors.size(), 2u);
      for (const Error& error : errors) EXPECT_EQ(error.code(), ErrorCode::kInternal) << error.what();
    }
  }
}

TEST(Failure, AStalledReplicaIsNamedWithStepPhaseAndLayer) {
  for (const int processes : {1, 3}) {
    const std::vector<Error> errors = ErrorsOf(
        {.replicas = 3, .stall_timeout = 1s}, processes, [](ReplicaLink link) {
          link.reducer->Report(link.replica, 17, "backward", "layer2.0.bn1");
          if (link.replica == 1) return;  // and is not heard of again
          link.Reduce(Sum({0, 3}, "layer2.0.bn1 backward", 33));
        });
    ASSERT_EQ(errors.size(), 2u);
    for (const Error& error : errors) {
      EXPECT_EQ(error.code(), ErrorCode::kDeadlineExceeded);
      EXPECT_THAT(error.what(),
                  AllOf(HasSubstr("'layer2.0.bn1 backward' (33 doubles, sum), reduction 0 of replicas 0..2"),
                        HasSubstr("replica 1 (rank " + std::to_string(processes == 1 ? 0 : 1)),
                        HasSubstr("step 17, backward, layer2.0.bn1, no progress for ")));
      EXPECT_THAT(error.what(), ::testing::Not(HasSubstr("replica 2 (rank")));
    }
  }
}

TEST(Failure, AStallIsToldWithItsFactsInEveryProcess) {
  std::mutex mutex;
  std::vector<Stall> stalls;
  ErrorsOf({.replicas = 3, .stall_timeout = 1s}, 3, [&](ReplicaLink link) {
    link.reducer->Report(link.replica, 17, "backward", "layer2.0.bn1");
    if (link.replica == 1) return;  // and is not heard of again
    try {
      link.Reduce(Sum({0, 3}, "layer2.0.bn1 backward", 33));
    } catch (const StallError& error) {
      const std::lock_guard lock(mutex);
      stalls.push_back(error.stall());
      throw;
    }
  });
  ASSERT_EQ(stalls.size(), 2u);
  for (const Stall& stall : stalls) {
    EXPECT_EQ(stall.waited_for, "layer2.0.bn1 backward");
    EXPECT_THAT(stall.missing_ranks, ElementsAre(1));
    EXPECT_EQ(stall.activity, "compute");
    EXPECT_EQ(stall.layer, "layer2.0.bn1");
    EXPECT_THAT(stall.message, HasSubstr("who is missing:"));
  }
}

TEST(Failure, WhatAProcessIsAtTravelsToTheOthers) {
  InProcessReducers reducers(2, {.replicas = 2, .stall_timeout = 60s});
  reducers.reducer(0).board().SetProcess(Activity::kCheckpoint, 12);
  reducers.reducer(0).board().Enter(0, 11, Activity::kRest);
  const auto seen = [&] { return reducers.reducer(1).board().ReadProcess(0); };
  // By the next heartbeat.
  const auto end = std::chrono::steady_clock::now() + 60s;
  while (seen().activity != Activity::kCheckpoint && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(5ms);
  }
  EXPECT_EQ(seen().Describe(), "checkpoint, after 12 steps");
  EXPECT_EQ(reducers.reducer(1).board().Read(0).activity, Activity::kRest);
}

TEST(Failure, ASlowReplicaThatAdvancesIsWaitedFor) {
  for (const int processes : {1, 2}) {
    const std::vector<Error> errors = ErrorsOf(
        {.replicas = 2, .stall_timeout = 1s}, processes, [](ReplicaLink link) {
          if (link.replica == 1) {
            for (int layer = 0; layer < 15; ++layer) {
              std::this_thread::sleep_for(100ms);
              link.reducer->Report(link.replica, 3, "forward", "layer" + std::to_string(layer));
            }
          }
          link.Reduce(Sum({0, 2}, "x"));
        });
    EXPECT_TRUE(errors.empty()) << errors.front().what();
  }
}

TEST(Failure, AReplicaWaitingForOneThatIsSlowIsNotBlamed) {
  // 0 waits for 1, which waits for 2, which advances all the time.
  const std::vector<Error> errors = ErrorsOf(
      {.replicas = 3, .stall_timeout = 1s}, 3, [](ReplicaLink link) {
        if (link.replica == 2) {
          for (int i = 0; i < 15; ++i) {
            std::this_thread::sleep_for(100ms);
            link.reducer->Report(link.replica, i, "data", "");
          }
        }
        if (link.replica >= 1) link.Reduce(Sum({1, 3}, "inner"));
        if (link.replica <= 1) link.Reduce(Sum({0, 2}, "outer"));
      });
  EXPECT_TRUE(errors.empty()) << errors.front().what();
}

TEST(Failure, ReplicasThatWaitForDifferentReductionsAreNamed) {
  const std::vector<Error> errors = ErrorsOf(
      {.replicas = 3, .stall_timeout = 1s}, 3, [](ReplicaLink link) {
        // 0 waits for 1, 1 for 2, 2 for 0.
        if (link.replica == 0) link.Reduce(Sum({0, 2}, "first"));
        if (link.replica == 1) link.Reduce(Sum({1, 3}, "second"));
        if (link.replica == 2) link.Reduce(Sum({0, 3}, "third"));
      });
  ASSERT_EQ(errors.size(), 3u);
  for (const Error& error : errors) {
    EXPECT_EQ(error.code(), ErrorCode::kDeadlineExceeded);
    EXPECT_THAT(error.what(), HasSubstr("nobody moves any more"));
    EXPECT_THAT(error.what(), HasSubstr("waiting for '"));
  }
}

TEST(Failure, AProcessThatHasFinishedIsNamedAtOnce) {
  auto communicators = MakeInProcessCommunicators(2);
  const ReducerOptions options{.replicas = 2, .stall_timeout = 30s};
  auto first = MakeReducer(*communicators[0], options);
  auto second = MakeReducer(*communicators[1], options);
  second->Report(1, 30, "update", "");
  std::thread leaver([&] {
    std::this_thread::sleep_for(100ms);
    second.reset();
  });
  const ReplicaLink link{first.get(), 0};
  try {
    link.Reduce(Sum({0, 2}, "gradients 0"));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDeadlineExceeded);
    EXPECT_THAT(error.what(), HasSubstr("rank 1 on "));
    EXPECT_THAT(error.what(), HasSubstr("has finished; last seen: step 30, update"));
  }
  first.reset();
  leaver.join();
}

// Eight processes exchange recursively: what one misses comes to most others through a third.
TEST(Failure, WhoIsMissingIsNamedByThoseToWhomItsPartIsRelayedToo) {
  const std::vector<Error> errors = ErrorsOf(
      {.replicas = 8, .stall_timeout = 1s}, 8, [](ReplicaLink link) {
        link.reducer->Report(link.replica, 17, "backward", "layer2.0.bn1");
        if (link.replica == 5) return;  // and is not heard of again
        link.Reduce(Sum({0, 8}, "layer2.0.bn1 backward", 33));
      });
  ASSERT_EQ(errors.size(), 7u);
  for (const Error& error : errors) {
    EXPECT_EQ(error.code(), ErrorCode::kDeadlineExceeded);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("'layer2.0.bn1 backward' (33 doubles, sum)"),
                                    HasSubstr("replica 5 (rank 5"),
                                    HasSubstr("step 17, backward, layer2.0.bn1, no progress for "),
                                    ::testing::Not(HasSubstr("replica 4 (rank"))));
  }
}

// Runs body(link) for one replica in each of `processes` processes, whose reducer is destroyed as soon as
// its replica returns; the errors in the order in which they came.
std::vector<Error> ErrorsOfLeavers(const ReducerOptions& options,
                                   const std::function<void(ReplicaLink)>& body) {
  auto communicators = MakeInProcessCommunicators(options.replicas);
  std::mutex mutex;
  std::vector<Error> errors;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < options.replicas; ++rank) {
    threads.emplace_back([&, rank] {
      const auto reducer = MakeReducer(*communicators[static_cast<size_t>(rank)], options);
      try {
        body({reducer.get(), rank});
      } catch (const Error& error) {
        const std::lock_guard lock(mutex);
        errors.push_back(error);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return errors;
}

TEST(Failure, AProcessThatLeavesWithoutWaitingStillPassesOnWhatOthersNeed) {
  for (const size_t small : {size_t{0}, size_t{1} << 20}) {
    for (const int processes : {3, 6, 8}) {
      const std::vector<Error> errors = ErrorsOfLeavers(
          {.replicas = processes, .stall_timeout = 60s, .small_bytes = small}, [&](ReplicaLink link) {
            if (link.replica == processes - 1) std::this_thread::sleep_for(100ms);
            const Reducer::Handle handle = link.Start(Sum({0, processes}, "x"));
            if (link.replica % 2 == 0) link.WaitOnHost(handle);
          });
      EXPECT_TRUE(errors.empty()) << errors.front().what();
    }
  }
}

TEST(Failure, AProcessThatHasFinishedWithoutTakingPartIsNamedThroughRelaysAtOnce) {
  const std::vector<Error> errors =
      ErrorsOfLeavers({.replicas = 8, .stall_timeout = 60s}, [](ReplicaLink link) {
        link.reducer->Report(link.replica, 30, "update", "");
        if (link.replica != 5) link.Reduce(Sum({0, 8}, "gradients 0"));
      });
  ASSERT_EQ(errors.size(), 7u);
  for (const Error& error : errors) {
    EXPECT_EQ(error.code(), ErrorCode::kDeadlineExceeded);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("rank 5 on "),
                                    HasSubstr("has finished; last seen: step 30, update")));
  }
}

TEST(Failure, ANativeReductionNeedsALibrary) {
  auto communicators = MakeInProcessCommunicators(2);
  try {
    MakeReducer(*communicators[0], {.kind = ReducerKind::kNative, .replicas = 2});
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnimplemented);
  }
}

TEST(NativeReducer, OneProcessSumsInTheOrderOfReplicas) {
  const std::vector<float> values = {1e8f, 1, -1e8f, 1, 3};
  float wanted = 0;
  for (float value : values) wanted += value;
  RunReplicas({.kind = ReducerKind::kNative, .replicas = 5}, 1, [&](ReplicaLink link) {
    for (int round = 0; round < 20; ++round) {
      Tensor mine({1}, DType::kFloat32);
      mine.Span<float>()[0] = values[static_cast<size_t>(link.replica)];
      Tensor result({1}, DType::kFloat32);
      link.Reduce({.group = {0, 5}, .contribution = mine, .result = result, .name = "x"});
      EXPECT_EQ(result.Span<float>()[0], wanted);
    }
  });
}

TEST(RunReplicas, ThrowsTheFirstErrorWithItsReplica) {
  try {
    RunReplicas(4, 2, [](ReplicaLink link) {
      if (link.replica == 3) throw Error(ErrorCode::kNotFound, "no such thing");
      link.Reduce(Sum({0, 4}, "x"));
    });
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_THAT(error.what(), HasSubstr("in replica 3"));
  }
}

}  // namespace
}  // namespace syncbn::comm
