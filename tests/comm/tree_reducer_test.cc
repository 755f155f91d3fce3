#include "comm/tree_reducer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <set>

#include "comm/group_plan.h"
#include "tests/comm/support.h"
#include "tests/support/run_replicas.h"

namespace syncbn::comm {
namespace {

using testing::BytesOf;
using testing::Contributions;
using testing::Expected;
using testing::TensorOf;

// Every replica of the group reduces its contribution and must get what the definition says, to the last
// bit.
void ExpectReduces(InProcessReducers& reducers, const Content& content, const Contributions& values,
                   Group group) {
  const std::vector<std::byte> wanted = Expected(content, values, group.begin, group.end);
  std::vector<Error> errors;
  RunReplicas(reducers, [&](ReplicaLink link) {
    if (link.replica < group.begin || link.replica >= group.end) return;
    Tensor result({content.elements}, content.dtype);
    link.Reduce({.operation = content.operation,
                 .group = group,
                 .contribution = TensorOf(content, values[static_cast<size_t>(link.replica)]),
                 .result = result,
                 .channels = content.channels,
                 .name = "test"});
    EXPECT_EQ(BytesOf(result), wanted) << "replica " << link.replica << " in " << Describe(group);
  }, errors);
  EXPECT_TRUE(errors.empty()) << errors.front().what();
}

// (replicas, processes, small messages)
using Case = std::tuple<int, int, bool>;
class TreeReducerBits : public ::testing::TestWithParam<Case> {
 protected:
  int replicas() const { return std::get<0>(GetParam()); }

  InProcessReducers reducers_{
      std::get<1>(GetParam()),
      {.replicas = std::get<0>(GetParam()), .small_bytes = std::get<2>(GetParam()) ? size_t{1} << 30 : 0}};
};

TEST_P(TreeReducerBits, SumsAreThoseOfTheCanonicalTree) {
  for (const int elements : {1, 17, 5000}) {
    const Content content{.dtype = DType::kFloat32, .elements = elements};
    const Contributions values = testing::SumContributions(replicas(), elements, 7);
    ExpectReduces(reducers_, content, values, {0, replicas()});
  }
}

TEST_P(TreeReducerBits, MomentsAreThoseOfTheCanonicalTree) {
  // Negative: with co-moments.
  const std::vector<int64_t> channels = {3, -16, 64, -1, 1, -5};
  int64_t elements = 0;
  for (int64_t c : channels) elements += backend::MomentsElements(c);
  const Content content{.operation = Operation::kMergeMoments,
                        .dtype = DType::kFloat64,
                        .elements = elements,
                        .channels = channels};
  const Contributions values = testing::MomentContributions(replicas(), channels, 11);
  ExpectReduces(reducers_, content, values, {0, replicas()});
}

TEST_P(TreeReducerBits, GroupsAcrossProcessesAreThoseOfTheirOwnTree) {
  const Content content{.dtype = DType::kFloat32, .elements = 100};
  const Contributions values = testing::SumContributions(replicas(), 100, 13);
  for (int begin = 0; begin < replicas(); begin += 2) {
    const Group group{begin, std::min(begin + 3, replicas())};
    ExpectReduces(reducers_, content, values, group);
  }
}

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (int replicas = 1; replicas <= 9; ++replicas) {
    for (int processes = 1; processes <= replicas; ++processes) {
      for (const bool small : {true, false}) {
        if (processes > 1 || small) cases.emplace_back(replicas, processes, small);
      }
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, TreeReducerBits, ::testing::ValuesIn(AllCases()),
                         [](const ::testing::TestParamInfo<Case>& info) {
                           return "R" + std::to_string(std::get<0>(info.param)) + "P" +
                                  std::to_string(std::get<1>(info.param)) +
                                  (std::get<2>(info.param) ? "Small" : "Large");
                         });

TEST(TreeReducer, ACutIntoBucketsDoesNotChangeTheBits) {
  const int replicas = 6, elements = 9000;
  const Content content{.dtype = DType::kFloat32, .elements = elements};
  const Contributions values = testing::SumContributions(replicas, elements, 17);
  const std::vector<std::byte> wanted = Expected(content, values, 0, replicas);
  for (const int processes : {1, 2, 4, 5}) {
    for (const int bucket : {33, 1000, 9000}) {
      RunReplicas({.replicas = replicas, .small_bytes = 1024}, processes, [&](ReplicaLink link) {
        // In place: the result lies over the contribution.
        const Tensor all = TensorOf(content, values[static_cast<size_t>(link.replica)]);
        std::vector<Reducer::Handle> handles;
        for (int begin = 0; begin < elements; begin += bucket) {
          const Tensor part = all.Slice(begin, {std::min(bucket, elements - begin)});
          handles.push_back(link.Start({.group = {0, replicas},
                                        .contribution = part,
                                        .result = part,
                                        .name = "bucket"}));
          link.reducer->Progress();
        }
        for (const auto& handle : handles) link.WaitOnHost(handle);
        EXPECT_EQ(BytesOf(all), wanted) << processes << " " << bucket;
      });
    }
  }
}

TEST(TreeReducer, AReplicaMayChangeItsResultAtOnceAndUseItsMemoryAgain) {
  const int replicas = 4, elements = 20000;
  RunReplicas({.replicas = replicas, .small_bytes = 0}, 2, [&](ReplicaLink link) {
    Tensor tensor({elements}, DType::kFloat32);
    for (int round = 0; round < 20; ++round) {
      for (float& x : tensor.Span<float>()) x = static_cast<float>(link.replica + round);
      link.Reduce({.group = {0, replicas}, .contribution = tensor, .result = tensor, .name = "x"});
      for (float& x : tensor.Span<float>()) {
        ASSERT_EQ(x, static_cast<float>(6 + 4 * round));
        x = -1;
      }
    }
  });
}

TEST(TreeReducer, OnlyWhoAsksGetsTheResult) {
  RunReplicas({.replicas = 4, .small_bytes = 0}, 2, [&](ReplicaLink link) {
    Tensor mine({3}, DType::kFloat64);
    for (double& x : mine.Span<double>()) x = link.replica + 1;
    Tensor result = link.replica == 3 ? Tensor({3}, DType::kFloat64) : Tensor();
    link.Reduce({.group = {0, 4}, .contribution = mine, .result = result, .name = "x"});
    if (result.defined()) {
      EXPECT_THAT(result.Span<double>(), ::testing::Each(10));
    }
  });
}

TEST(TreeReducer, AMessageWithoutElementsIsFine) {
  for (const size_t small : {size_t{0}, size_t{1000}}) {
    RunReplicas({.replicas = 3, .small_bytes = small}, 2, [&](ReplicaLink link) {
      Tensor empty({0}, DType::kFloat32);
      link.Reduce({.group = {0, 3}, .contribution = empty, .result = empty, .name = "empty"});
    });
  }
}

TEST(TreeReducer, ContributionsAreReleasedAsSoonAsTheyAreMerged) {
  const int replicas = 8;
  InProcessReducers reducers(1, {.replicas = replicas});
  std::vector<std::weak_ptr<void>> memory;
  std::vector<Reducer::Handle> handles;
  const auto alive = [&] {
    int count = 0;
    for (const auto& m : memory) count += m.expired() ? 0 : 1;
    return count;
  };
  for (int replica = 0; replica < replicas - 1; ++replica) {
    std::shared_ptr<void> block = AllocateAligned(40);
    memory.push_back(block);
    handles.push_back(reducers.reducer(0).Start(
        replica, {.group = {0, replicas},
                  .contribution = Tensor({10}, DType::kFloat32, std::move(block)),
                  .name = "x"}));
    // After n contributions from the left there are as many subtrees as n has bits.
    EXPECT_EQ(alive(), __builtin_popcount(static_cast<unsigned>(replica) + 1));
  }
  handles.push_back(reducers.reducer(0).Start(
      replicas - 1,
      {.group = {0, replicas}, .contribution = Tensor({10}, DType::kFloat32), .name = "x"}));
  EXPECT_EQ(alive(), 0);
  for (const auto& handle : handles) reducers.reducer(0).Wait(handle);
}

TEST(TreeReducer, OperationsMayBeWaitedForInAnyOrderAndByFewerThanTheyHaveParticipants) {
  RunReplicas({.replicas = 5}, 3, [&](ReplicaLink link) {
    std::vector<Reducer::Handle> handles;
    std::vector<Tensor> results;
    for (int i = 0; i < 30; ++i) {
      Tensor mine({1 + i}, DType::kFloat32);
      for (float& x : mine.Span<float>()) x = static_cast<float>(i);
      results.push_back(Tensor({1 + i}, DType::kFloat32));
      handles.push_back(link.Start({.group = {0, 5},
                                    .contribution = std::move(mine),
                                    .result = link.replica == 2 ? Tensor() : results.back(),
                                    .name = "x"}));
    }
    if (link.replica == 2) return;  // never waits
    for (int i = 29; i >= 0; --i) {
      link.WaitOnHost(handles[static_cast<size_t>(i)]);
      EXPECT_THAT(results[static_cast<size_t>(i)].Span<float>(), ::testing::Each(5.0f * i));
    }
  });
}

TEST(TreeReducer, CountsWhatItSendsAsItsHeaderSays) {
  const int64_t elements = 1 << 14;
  const int64_t bytes = elements * 4;
  struct Case {
    int processes;
    bool small;
    int64_t messages, bytes;
  };
  for (const Case& wanted : {Case{2, true, 1, bytes}, Case{4, true, 2, 2 * bytes}, Case{4, false, 6, 2 * bytes * 3 / 4},
                             Case{8, true, 3, 3 * bytes}, Case{8, false, 14, 2 * bytes * 7 / 8}}) {
    InProcessReducers reducers(wanted.processes,
                               {.replicas = 8, .small_bytes = wanted.small ? size_t{1} << 20 : 0});
    std::vector<Error> errors;
    RunReplicas(reducers, [&](ReplicaLink link) {
      link.Reduce({.group = {0, 8},
                   .contribution = Tensor::Zeros({elements}, DType::kFloat32),
                   .name = "x"});
    }, errors);
    for (int rank = 0; rank < wanted.processes; ++rank) {
      const ReducerCounters counters = reducers.reducer(rank).counters();
      EXPECT_EQ(counters.bytes, wanted.bytes);
      EXPECT_EQ(counters.messages, wanted.messages);
      EXPECT_EQ(counters.reductions, 1);
    }
    EXPECT_TRUE(errors.empty());
  }
}

// What one process may send for a small reduction.
int64_t MostMessages(int replicas, int processes, int rank) {
  if (processes <= ReducerOptions().direct_processes) return processes - 1;
  const auto steps = std::bit_width(static_cast<unsigned>(processes - 1));
  if (std::has_single_bit(static_cast<unsigned>(replicas)) &&
      std::has_single_bit(static_cast<unsigned>(processes))) {
    return steps;
  }
  return 2 * steps +
         MakeGroupPlan(ReplicaMap(replicas, processes), {0, replicas}, rank).own().subtrees;
}

TEST(TreeReducer, ASmallReductionTakesEachProcessTheLogarithmOfTheirNumberInMessages) {
  for (int processes = 1; processes <= 64; ++processes) {
    const int even = 2 * processes, uneven = processes + processes / 3;
    for (const int replicas : std::set{even, uneven}) {
      const Content content{.dtype = DType::kFloat32, .elements = 3};
      const Contributions values = testing::SumContributions(replicas, 3, 19);
      const std::vector<std::byte> wanted = Expected(content, values, 0, replicas);
      InProcessReducers reducers(processes, {.replicas = replicas});
      std::vector<Tensor> results;
      for (int replica = 0; replica < replicas; ++replica) {
        results.push_back(TensorOf(content, values[static_cast<size_t>(replica)]));
        reducers.Link(replica).Start({.group = {0, replicas},
                                      .contribution = results.back(),
                                      .result = results.back(),
                                      .name = "x"});
      }
      const auto done = [&](int rank) { return reducers.reducer(rank).counters().reductions == 1; };
      for (int rank = 0; rank < processes; rank = done(rank) ? rank + 1 : rank) {
        for (int other = 0; other < processes; ++other) reducers.reducer(other).Progress();
      }
      for (int rank = 0; rank < processes; ++rank) {
        EXPECT_LE(reducers.reducer(rank).counters().messages, MostMessages(replicas, processes, rank))
            << "rank " << rank << " of " << processes << ", " << replicas << " replicas";
      }
      for (const Tensor& result : results) ASSERT_EQ(BytesOf(result), wanted);
    }
  }
}

}  // namespace
}  // namespace syncbn::comm
