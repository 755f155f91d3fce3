// Reductions of tensors that live on a device: on a checked one, where looking into them from the host and
// touching them without waiting for an event are errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <tuple>

#include "backend/checked/checked_backend.h"
#include "tests/comm/support.h"
#include "tests/support/run_replicas.h"

namespace syncbn::comm {
namespace {

using testing::BytesOf;
using testing::Contributions;
using testing::Expected;
using testing::TensorOf;

// (replicas, processes, small messages)
using Case = std::tuple<int, int, bool>;
class DeviceReducer : public ::testing::TestWithParam<Case> {
 protected:
  int replicas() const { return std::get<0>(GetParam()); }
  int processes() const { return std::get<1>(GetParam()); }
  ReducerOptions Options() const {
    return {.replicas = replicas(),
            .small_bytes = std::get<2>(GetParam()) ? size_t{1} << 30 : 0,
            .backend = backend_.get()};
  }

  const std::unique_ptr<backend::Backend> backend_ =
      backend::MakeCheckedBackend(backend::MakeReferenceBackend);
};

INSTANTIATE_TEST_SUITE_P(Clusters, DeviceReducer,
                         ::testing::Values(Case{1, 1, true}, Case{5, 1, true}, Case{5, 3, true},
                                           Case{5, 3, false}, Case{8, 2, false}));

TEST_P(DeviceReducer, GivesTheBitsOfTheCanonicalTreeInTheOrderOfEachStream) {
  const std::vector<int64_t> channels = {3, 16};
  const Content sum{.dtype = DType::kFloat32, .elements = 5000};
  const Content moments{.operation = Operation::kMergeMoments,
                        .dtype = DType::kFloat64,
                        .elements = 7 + 33,
                        .channels = channels};
  const Contributions of_sum = testing::SumContributions(replicas(), 5000, 3);
  const Contributions of_moments = testing::MomentContributions(replicas(), channels, 4);
  RunReplicas(Options(), processes(), [&](ReplicaLink link) {
    const auto executor = backend_->MakeExecutor();
    const auto replica = static_cast<size_t>(link.replica);
    const auto start = [&](const Content& content, const Contributions& values, Tensor& result) {
      result = executor->New({content.elements}, content.dtype);
      const Tensor mine = executor->Clone(TensorOf(content, values[replica]));
      return link.Start({.operation = content.operation,
                         .group = {0, replicas()},
                         .contribution = mine,
                         .ready = executor->Record(),
                         .result = result,
                         .channels = content.channels,
                         .name = "test"});
    };
    Tensor added, merged;
    const Reducer::Handle first = start(sum, of_sum, added);
    const Reducer::Handle second = start(moments, of_moments, merged);
    link.Wait(first, *executor);
    const Tensor copy = executor->Clone(added);
    link.Wait(second, *executor);
    EXPECT_EQ(BytesOf(copy.OnHost()), Expected(sum, of_sum, 0, replicas()));
    EXPECT_EQ(BytesOf(executor->Clone(merged).OnHost()),
              Expected(moments, of_moments, 0, replicas()));
  });
}

TEST_P(DeviceReducer, GivesTheHostWhatItDecidesBy) {
  RunReplicas(Options(), processes(), [&](ReplicaLink link) {
    const auto executor = backend_->MakeExecutor();
    Tensor mine = executor->New({2}, DType::kFloat64);
    executor->Fill(mine, link.replica + 1);
    Tensor result({2}, DType::kFloat64);
    link.WaitOnHost(link.Start({.group = {0, replicas()},
                                .contribution = mine,
                                .ready = executor->Record(),
                                .result = result,
                                .name = "test"}));
    EXPECT_EQ(result.Data<double>()[1], replicas() * (replicas() + 1) / 2);
  });
}

TEST(DeviceReducerOrder, AContributionWithoutItsEventIsAnError) {
  const auto backend = backend::MakeCheckedBackend(backend::MakeReferenceBackend);
  try {
    RunReplicas({.replicas = 2, .backend = backend.get()}, 1, [&](ReplicaLink link) {
      const auto executor = backend->MakeExecutor();
      link.Reduce({.group = {0, 2},
                   .contribution = executor->NewZeros({3}, DType::kFloat64),
                   .result = {},
                   .name = "test"});
    });
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("waits for no event behind that"));
  }
}

}  // namespace
}  // namespace syncbn::comm
