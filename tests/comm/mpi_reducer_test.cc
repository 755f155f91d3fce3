// Under mpirun: the results of real processes are those of the tree's definition, to the bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "comm/handshake.h"
#include "comm/make_reducer.h"
#include "comm/mpi/mpi_session.h"
#include "tests/comm/support.h"
#include "tests/support/mpi_world.h"

namespace syncbn::comm {
namespace {

using testing::BytesOf;
using testing::Contributions;
using testing::Expected;
using testing::TensorOf;
using namespace std::chrono_literals;

ReducerOptions Options(int replicas, size_t small_bytes = 32 * 1024) {
  return {.replicas = replicas, .stall_timeout = 20s, .small_bytes = small_bytes};
}

// Runs body(link) for the replicas of this rank on threads, each of which poisons the others when it
// fails; returns their first error.
std::optional<Error> RunLocal(Reducer& reducer, int replicas,
                              const std::function<void(ReplicaLink)>& body) {
  const Group local = ReplicaMap(replicas, MpiWorld().size()).OfProcess(MpiWorld().rank());
  std::mutex mutex;
  std::optional<Error> first;
  std::vector<std::thread> threads;
  for (int replica = local.begin; replica < local.end; ++replica) {
    threads.emplace_back([&, replica] {
      try {
        body({&reducer, replica});
      } catch (const Error& error) {
        {
          std::lock_guard lock(mutex);
          if (!first) first = error;
        }
        reducer.Poison(replica, error.message());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return first;
}

void ExpectReduces(const ReducerOptions& options, const Content& content,
                   const Contributions& values, Group group) {
  const std::vector<std::byte> wanted = Expected(content, values, group.begin, group.end);
  const auto reducer = MakeReducer(MpiWorld(), options);
  const std::optional<Error> error = RunLocal(*reducer, options.replicas, [&](ReplicaLink link) {
    if (link.replica < group.begin || link.replica >= group.end) return;
    for (int round = 0; round < 3; ++round) {
      Tensor result({content.elements}, content.dtype);
      link.Reduce({.operation = content.operation,
                   .group = group,
                   .contribution = TensorOf(content, values[static_cast<size_t>(link.replica)]),
                   .result = result,
                   .channels = content.channels,
                   .name = "test"});
      EXPECT_EQ(BytesOf(result), wanted) << options.replicas << " replicas, replica " << link.replica
                                         << ", " << content.elements << " elements";
    }
  });
  EXPECT_FALSE(error.has_value()) << error->what();
}

std::vector<int> ReplicaCounts() {
  std::vector<int> counts;
  for (int replicas : {1, 2, 3, 4, 5, 6, 8, 9}) {
    if (replicas >= MpiWorld().size()) counts.push_back(replicas);
  }
  return counts;
}

TEST(MpiReducer, SumsHaveTheBitsOfTheCanonicalTree) {
  for (const int replicas : ReplicaCounts()) {
    // Together with their head, after it, by ranges.
    for (const int elements : {1, 1000, 7001, 20000}) {
      const Content content{.dtype = DType::kFloat32, .elements = elements};
      ExpectReduces(Options(replicas), content,
                    testing::SumContributions(replicas, elements, 7), {0, replicas});
    }
  }
}

TEST(MpiReducer, MomentsHaveTheBitsOfTheCanonicalTree) {
  const std::vector<int64_t> channels = {16, 2, 64, 512};
  int64_t elements = 0;
  for (int64_t c : channels) elements += 1 + 2 * c;
  const Content content{.operation = Operation::kMergeMoments,
                        .dtype = DType::kFloat64,
                        .elements = elements,
                        .channels = channels};
  for (const int replicas : ReplicaCounts()) {
    for (const size_t small : {size_t{0}, size_t{1} << 20}) {
      ExpectReduces(Options(replicas, small), content,
                    testing::MomentContributions(replicas, channels, 11), {0, replicas});
    }
  }
}

TEST(MpiReducer, GroupsAcrossProcessesHaveTheBitsOfTheirOwnTree) {
  const Content content{.dtype = DType::kFloat32, .elements = 100};
  for (const int replicas : ReplicaCounts()) {
    for (int begin = 0; begin + 1 < replicas; begin += 2) {
      ExpectReduces(Options(replicas), content, testing::SumContributions(replicas, 100, 13),
                    {begin, std::min(begin + 3, replicas)});
    }
  }
}

TEST(MpiReducer, LargeMessagesInFlightTogetherDoNotMix) {
  const int replicas = std::max(6, MpiWorld().size());
  const Content content{.dtype = DType::kFloat32, .elements = 50000};
  const auto reducer = MakeReducer(MpiWorld(), Options(replicas));
  std::vector<Contributions> values;
  for (unsigned i = 0; i < 8; ++i) {
    values.push_back(testing::SumContributions(replicas, 50000, 100 + i));
  }
  const std::optional<Error> error = RunLocal(*reducer, replicas, [&](ReplicaLink link) {
    std::vector<Reducer::Handle> handles;
    std::vector<Tensor> tensors;
    for (const Contributions& v : values) {
      tensors.push_back(TensorOf(content, v[static_cast<size_t>(link.replica)]));
      handles.push_back(link.Start({.group = {0, replicas},
                                    .contribution = tensors.back(),
                                    .result = tensors.back(),
                                    .name = "bucket"}));
      link.reducer->Progress();
    }
    for (size_t i = 0; i < handles.size(); ++i) {
      link.WaitOnHost(handles[i]);
      EXPECT_EQ(BytesOf(tensors[i]), Expected(content, values[i], 0, replicas));
    }
  });
  EXPECT_FALSE(error.has_value()) << error->what();
}

TEST(MpiReducer, NativeSumsAndMomentsAreRightOnExactData) {
  const int replicas = std::max(6, MpiWorld().size());
  ReducerOptions options = Options(replicas);
  options.kind = ReducerKind::kNative;
  options.native_groups = {{0, replicas / 2}, {1, replicas}};
  const auto reducer = MakeReducer(MpiWorld(), options);
  const std::vector<int64_t> channels = {1, 2};
  const std::optional<Error> error = RunLocal(*reducer, replicas, [&](ReplicaLink link) {
    for (const Group group : {Group{0, replicas}, Group{0, replicas / 2}, Group{1, replicas}}) {
      if (link.replica < group.begin || link.replica >= group.end) continue;
      std::vector<Reducer::Handle> handles;
      std::vector<Tensor> sums;
      for (int i = 0; i < 5; ++i) {
        Tensor mine({1000 * i + 1}, DType::kFloat32);
        for (float& x : mine.Span<float>()) x = static_cast<float>(link.replica * i);
        sums.push_back(mine);
        handles.push_back(
            link.Start({.group = group, .contribution = mine.Clone(), .result = mine, .name = "sum"}));
      }
      // Replica r brings one sample of value r in each channel.
      Tensor moments = Tensor::Zeros({8}, DType::kFloat64);
      const double r = link.replica;
      const double values[] = {1, r, 0, 1, r, 2 * r, 0, 0};
      std::copy(values, values + 8, moments.Data<double>());
      link.Reduce({.operation = Operation::kMergeMoments,
                   .group = group,
                   .contribution = moments.Clone(),
                   .result = moments,
                   .channels = channels,
                   .name = "moments"});
      double sum = 0, squares = 0;
      for (int i = group.begin; i < group.end; ++i) sum += i, squares += i * i;
      const double n = group.size(), mean = sum / n, m2 = squares - sum * sum / n;
      const double wanted[] = {n, mean, m2, n, mean, 2 * mean, m2, 4 * m2};
      EXPECT_THAT(moments.Span<double>(),
                  ::testing::Pointwise(::testing::DoubleNear(1e-12 * (1 + squares)), wanted));
      for (int i = 0; i < 5; ++i) {
        link.WaitOnHost(handles[static_cast<size_t>(i)]);
        EXPECT_THAT(sums[static_cast<size_t>(i)].Span<float>(),
                    ::testing::Each(static_cast<float>(sum * i)));
      }
    }
  });
  EXPECT_FALSE(error.has_value()) << error->what();
}

TEST(MpiReducer, NativeSaysWhichGroupItWasNotPreparedFor) {
  if (MpiWorld().size() == 1) GTEST_SKIP() << "needs a group across processes";
  const int replicas = 2 * MpiWorld().size();
  ReducerOptions options = Options(replicas);
  options.kind = ReducerKind::kNative;
  const auto reducer = MakeReducer(MpiWorld(), options);
  const std::optional<Error> error = RunLocal(*reducer, replicas, [&](ReplicaLink link) {
    if (link.replica == 0) return;
    link.Reduce({.group = {1, replicas},
                 .contribution = Tensor::Zeros({1}, DType::kFloat32),
                 .name = "x"});
  });
  ASSERT_TRUE(error.has_value());
  // Its own error, or that of another replica which was faster.
  EXPECT_THAT(error->what(),
              ::testing::HasSubstr("reduction: native has not been prepared for replicas 1.."));
}

TEST(MpiReducer, AMismatchIsNamedOnEveryRank) {
  const int size = MpiWorld().size();
  if (size == 1) GTEST_SKIP() << "needs two processes";
  const auto reducer = MakeReducer(MpiWorld(), Options(size));
  const std::optional<Error> error = RunLocal(*reducer, size, [&](ReplicaLink link) {
    const bool other = link.replica == size - 1;
    link.Reduce({.group = {0, size},
                 .contribution = Tensor::Zeros({other ? 33 : 17}, DType::kFloat64),
                 .name = other ? "layer2.bn1 forward" : "layer1.bn1 forward"});
  });
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->code(), ErrorCode::kInternal);
  EXPECT_THAT(error->what(), ::testing::HasSubstr("rank " + std::to_string(size - 1) + " replica " +
                                                  std::to_string(size - 1) +
                                                  " reduces 'layer2.bn1 forward' (33 doubles, sum)"));
  EXPECT_THAT(error->what(), ::testing::HasSubstr("'layer1.bn1 forward' (17 doubles, sum)"));
}

TEST(MpiReducer, AFailingReplicaEndsTheWaitsOfAllRanks) {
  const int size = MpiWorld().size(), replicas = 2 * size;
  ReducerOptions reducer_options = Options(replicas);
  reducer_options.stall_timeout = 60s;
  const auto reducer = MakeReducer(MpiWorld(), reducer_options);
  const auto begin = std::chrono::steady_clock::now();
  const std::optional<Error> error = RunLocal(*reducer, replicas, [&](ReplicaLink link) {
    if (link.replica == replicas - 1) {
      std::this_thread::sleep_for(50ms);
      link.reducer->Poison(link.replica, "batch 7 is damaged");
      return;
    }
    link.Reduce({.group = {0, replicas},
                 .contribution = Tensor::Zeros({3}, DType::kFloat64),
                 .name = "x"});
  });
  EXPECT_LT(std::chrono::steady_clock::now() - begin, reducer_options.stall_timeout);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->code(), ErrorCode::kAborted);
  EXPECT_THAT(error->what(), ::testing::HasSubstr("replica " + std::to_string(replicas - 1) +
                                                  " (rank " + std::to_string(size - 1)));
  EXPECT_THAT(error->what(), ::testing::HasSubstr("batch 7 is damaged"));
}

TEST(MpiReducer, AStalledReplicaIsNamedOnEveryOtherRank) {
  const int size = MpiWorld().size();
  if (size == 1) GTEST_SKIP() << "needs two processes";
  ReducerOptions options = Options(size);
  options.stall_timeout = 2s;
  const auto reducer = MakeReducer(MpiWorld(), options);
  const std::optional<Error> error = RunLocal(*reducer, size, [&](ReplicaLink link) {
    link.reducer->Report(link.replica, 17, "backward", "layer2.0.bn1");
    if (link.replica == size - 1) return;
    link.Reduce({.group = {0, size},
                 .contribution = Tensor::Zeros({3}, DType::kFloat64),
                 .name = "layer2.0.bn1 backward"});
  });
  // Nobody has finished before all have noticed.
  MpiWorld().Barrier();
  if (MpiWorld().rank() == size - 1) return;
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->code(), ErrorCode::kDeadlineExceeded);
  EXPECT_THAT(error->what(), ::testing::HasSubstr("'layer2.0.bn1 backward' (3 doubles, sum)"));
  EXPECT_THAT(error->what(), ::testing::HasSubstr("replica " + std::to_string(size - 1) + " (rank " +
                                                  std::to_string(size - 1)));
  EXPECT_THAT(error->what(), ::testing::HasSubstr("step 17, backward, layer2.0.bn1, no progress"));
}

TEST(MpiCommunicator, ExchangesTextsOfAnyLength) {
  const int rank = MpiWorld().rank();
  const std::string mine(static_cast<size_t>(rank) * 1000, static_cast<char>('a' + rank));
  const std::vector<std::string> all = MpiWorld().AllGather(mine);
  ASSERT_EQ(all.size(), static_cast<size_t>(MpiWorld().size()));
  for (int r = 0; r < MpiWorld().size(); ++r) {
    EXPECT_EQ(all[static_cast<size_t>(r)],
              std::string(static_cast<size_t>(r) * 1000, static_cast<char>('a' + r)));
  }
  const int last = MpiWorld().size() - 1;
  EXPECT_EQ(MpiWorld().Broadcast(last, rank == last ? "from the last" : "ignored"), "from the last");
}

TEST(Handshake, NamesWhatDiffersOnEveryRank) {
  const int rank = MpiWorld().rank();
  const std::vector<Fact> same = {{"oneDNN", "2.6.3"}};
  EXPECT_EQ(Handshake(MpiWorld(), "host" + std::to_string(rank), same).size(),
            static_cast<size_t>(MpiWorld().size()));
  if (MpiWorld().size() == 1) return;
  const std::vector<Fact> mine = {{"oneDNN", "2.6.3"}, {"instruction set", rank == 1 ? "AVX2" : "AVX512"}};
  try {
    Handshake(MpiWorld(), "host" + std::to_string(rank), mine);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFailedPrecondition);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("instruction set:"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("'AVX2' on rank 1 on host1"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("'AVX512' on rank 0 on host0"));
  }
}

TEST(MpiSession, KnowsItsLibraryAndThatItRunsUnderMpirun) {
  EXPECT_TRUE(MpiSession::UnderMpirun());
  EXPECT_EQ(MpiWorld().transport(), "mpi");
  EXPECT_THAT(MpiVersion(), ::testing::HasSubstr("MPI"));
}

}  // namespace
}  // namespace syncbn::comm
