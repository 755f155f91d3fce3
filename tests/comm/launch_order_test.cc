// That a process launches in one order where its exchange needs that, whatever its replicas do
// meanwhile.
#include "comm/launch_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <thread>

#include "comm/group_state.h"
#include "tests/comm/random_program.h"
#include "tests/comm/support.h"
#include "tests/support/one_order_exchange.h"
#include "tests/support/run_replicas.h"

namespace syncbn::comm {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::RandomProgram;
using testing::RunProgram;
using testing::Step;

// -- Numbers ---------------------------------------------------------------------------------

// The middle one of three processes with three replicas each: 3, 4 and 5.
class ProgramOrderTest : public ::testing::Test {
 protected:
  std::shared_ptr<ReductionOp> Op(Group group) {
    auto state = std::make_unique<GroupState>();
    state->plan = MakeGroupPlan(ReplicaMap(9, 3), group, 1);
    auto op = std::make_shared<ReductionOp>();
    op->group = state.get();
    states_.push_back(std::move(state));
    return op;
  }
  std::optional<std::string> Start(int replica, const std::shared_ptr<ReductionOp>& op) {
    return order_.Start(replica, op, "x");
  }

  ProgramOrder order_{{3, 6}};
  std::vector<std::unique_ptr<GroupState>> states_;
};

TEST_F(ProgramOrderTest, IsByPlaceAndAtAPlaceFromLeftToRightWhoeverComesFirst) {
  const auto left = Op({2, 4}), inside = Op({4, 5}), right = Op({5, 7}), all = Op({0, 9});
  EXPECT_EQ(Start(5, right), std::nullopt);
  EXPECT_EQ(Start(5, all), std::nullopt);
  EXPECT_EQ(Start(4, inside), std::nullopt);
  EXPECT_EQ(Start(4, all), std::nullopt);
  for (const auto& op : {left, right, all}) EXPECT_EQ(op->launch_number, -1);
  EXPECT_THAT(order_.Behind(*right), ElementsAre(3));
  EXPECT_EQ(Start(3, left), std::nullopt);
  EXPECT_THAT(order_.Behind(*right), IsEmpty());
  EXPECT_EQ(left->launch_number, 0);
  EXPECT_EQ(right->launch_number, 1);
  EXPECT_EQ(all->launch_number, -1);
  EXPECT_EQ(Start(3, all), std::nullopt);
  EXPECT_EQ(all->launch_number, 2);
  EXPECT_EQ(inside->launch_number, -1) << "nobody else takes part";
}

TEST_F(ProgramOrderTest, ReplicasThatStartOneReductionAtDifferentPlacesAreNamed) {
  const auto inside = Op({4, 5}), all = Op({0, 9});
  EXPECT_EQ(Start(3, all), std::nullopt);
  EXPECT_EQ(Start(4, inside), std::nullopt);
  EXPECT_THAT(
      Start(4, all).value_or(""),
      HasSubstr("replica 4 starts 'x', reduction 0 of replicas 0..8, as number 1 of its program, "
                "another replica of its process as number 0"));
}

TEST(LaunchQueue, WithOneOrderAnOperationIsLaunchedWholeBeforeTheNext) {
  std::vector<std::shared_ptr<ReductionOp>> ops;
  for (int number = 0; number < 3; ++number) {
    ops.push_back(std::make_shared<ReductionOp>());
    ops.back()->launch_number = number;
  }
  for (const bool one_by_one : {false, true}) {
    LaunchQueue queue{.combined = {ops[2], ops[0]}, .one_by_one = one_by_one};
    EXPECT_EQ(queue.TakeDue(), ops[0]);
    EXPECT_EQ(queue.TakeDue(), nullptr) << "1 has not been combined";
    queue.combined.push_back(ops[1]);
    if (one_by_one) {
      EXPECT_EQ(queue.TakeDue(), nullptr) << "0 has further rounds";
      ops[0]->all_launched = true;
    }
    EXPECT_EQ(queue.TakeDue(), ops[1]);
  }
}

// -- Over an exchange that needs it ----------------------------------------------------------

TEST(OneOrder, OverlappingGroupsAndBucketsBetweenThemEndInTheBitsOfTheTree) {
  for (int processes = 1; processes <= 5; ++processes) {
    for (const int replicas : {processes, processes + 1, 2 * processes + 1, 8}) {
      if (replicas < processes) continue;
      const std::vector<Step> program =
          RandomProgram(replicas, static_cast<unsigned>(10 * processes + replicas));
      for (const int direct_processes : {1, 4}) {
        RunReplicas({.replicas = replicas,
                     .small_bytes = 2048,
                     .direct_processes = direct_processes,
                     .make_exchange = MakeOneOrderExchanges(processes)},
                    processes, [&](ReplicaLink link) { RunProgram(program, link); });
      }
    }
  }
}

Reduction Sum(Group group, std::string_view name) {
  return {.group = group, .contribution = Tensor::Zeros({3}, DType::kFloat64), .name = name};
}

std::vector<Error> ErrorsOf(const ReducerOptions& options, int processes,
                            const std::function<void(ReplicaLink)>& body) {
  std::vector<Error> errors;
  InProcessReducers reducers(processes, options);
  RunReplicas(reducers, body, errors);
  return errors;
}

// Four replicas in two processes reduce over all of them, then 1 and 2 do. Replica 0 is late, so
// that rank 0 combines its part of the second one first, and rank 1 that of the first one.
std::vector<Error> RunWithALateReplica(Exchange::Order order) {
  std::latch others(3), rank_1_has_launched(2);
  return ErrorsOf(
      {.replicas = 4, .stall_timeout = 1s, .make_exchange = MakeOneOrderExchanges(2, order)}, 2,
      [&](ReplicaLink link) {
        if (link.replica == 0) others.wait();
        const auto all = link.Start(Sum({0, 4}, "all"));
        if (link.replica >= 2) rank_1_has_launched.arrive_and_wait();
        const Group group = link.replica == 0   ? Group{0, 1}
                            : link.replica == 3 ? Group{3, 4}
                                                : Group{1, 3};
        const auto middle = link.Start(Sum(group, "middle"));
        if (link.replica != 0) others.count_down();
        link.WaitOnHost(all);
        link.WaitOnHost(middle);
      });
}

TEST(OneOrder, IsThatOfTheProgramAlsoWhereAProcessCouldLaunchTheSecondReductionFirst) {
  EXPECT_THAT(RunWithALateReplica(Exchange::Order::kOfProcess), IsEmpty());
}

TEST(OneOrder, WithoutItTheSameProgramHangsAndTheWatchdogEndsIt) {
  const std::vector<Error> errors = RunWithALateReplica(Exchange::Order::kOfGroup);
  ASSERT_EQ(errors.size(), 4u);
  for (const Error& error : errors)
    EXPECT_EQ(error.code(), ErrorCode::kDeadlineExceeded) << error.what();
}

TEST(OneOrder, ProcessesWhoseProgramsDifferInTheirOrderAreNamed) {
  const auto body = [](ReplicaLink link) {
    const auto start_all = [&] { return link.Start(Sum({0, 4}, "all")); };
    const auto start_middle = [&] {
      const bool inner = link.replica == 1 || link.replica == 2;
      return link.Start(Sum(inner ? Group{1, 3} : Group{link.replica, link.replica + 1}, "middle"));
    };
    std::vector<Reducer::Handle> handles;
    if (link.replica < 2) {
      handles = {start_all(), start_middle()};
    } else {
      handles = {start_middle(), start_all()};
    }
    for (const auto& handle : handles) link.WaitOnHost(handle);
  };
  EXPECT_THAT(ErrorsOf({.replicas = 4}, 2, body), IsEmpty()) << "with tags they do not";
  const std::vector<Error> errors =
      ErrorsOf({.replicas = 4, .make_exchange = MakeOneOrderExchanges(2)}, 2, body);
  ASSERT_EQ(errors.size(), 4u);
  for (const Error& error : errors) {
    EXPECT_EQ(error.code(), ErrorCode::kInternal);
    EXPECT_THAT(error.what(), HasSubstr("must launch what they reduce together in one order"));
  }
}

TEST(OneOrder, ReplicasOfAProcessWhoseProgramsDifferAreNamed) {
  const std::vector<Error> errors =
      ErrorsOf({.replicas = 4, .make_exchange = MakeOneOrderExchanges(2)}, 2, [](ReplicaLink link) {
        if (link.replica == 1) link.Reduce(Sum({1, 2}, "alone"));
        link.Reduce(Sum({0, 4}, "all"));
      });
  ASSERT_EQ(errors.size(), 4u);
  for (const Error& error : errors) {
    EXPECT_EQ(error.code(), ErrorCode::kInternal);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("starts 'all', reduction 0 of replicas 0..3, as number "),
                      HasSubstr("must start the same reductions in one order")));
  }
}

TEST(OneOrder, WhoHoldsUpAReductionOfOthersIsNamed) {
  const std::vector<Error> errors =
      ErrorsOf({.replicas = 4, .stall_timeout = 1s, .make_exchange = MakeOneOrderExchanges(2)}, 2,
               [](ReplicaLink link) {
                 link.reducer->Report(link.replica, 17, "backward", "layer1.0.bn1");
                 if (link.replica == 0) return;  // and is not heard of again
                 link.Reduce(Sum(link.replica == 3 ? Group{3, 4} : Group{1, 3}, "middle"));
               });
  ASSERT_EQ(errors.size(), 2u);
  for (const Error& error : errors) {
    EXPECT_EQ(error.code(), ErrorCode::kDeadlineExceeded);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("'middle' (3 doubles, sum)"), HasSubstr("replica 0 (rank 0")));
  }
}

}  // namespace
}  // namespace syncbn::comm
