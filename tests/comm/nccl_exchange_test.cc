// The exchange over NCCL, on the emulated one (tests/emulation): threads are the processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <latch>
#include <thread>

#include "backend/cuda/cuda_backend.h"
#include "comm/nccl/nccl.h"
#include "comm/progress_board.h"
#include "tests/comm/random_program.h"
#include "tests/comm/support.h"
#include "tests/emulation/runtime.h"
#include "tests/support/run_replicas.h"

namespace syncbn::comm {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using testing::BytesOf;
using testing::Contributions;
using ::testing::Each;
using testing::Expected;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::TensorOf;

class NcclExchangeTest : public ::testing::Test {
 protected:
  ~NcclExchangeTest() override {
    emulation::BreakNccl({});
    emulation::HoldQueries(-1);
  }

  ReducerOptions Options(int replicas, std::chrono::nanoseconds stall_timeout = 60s) const {
    return {.replicas = replicas,
            .stall_timeout = stall_timeout,
            .heartbeat = 20ms,
            .small_bytes = 2048,
            .make_exchange = [](Communicator& control, backend::MergeStream& merges) {
              return MakeNcclExchange(control, merges, 20s);
            }};
  }
  // A GPU for every process.
  std::unique_ptr<InProcessReducers> Reducers(const ReducerOptions& options, int processes) const {
    return std::make_unique<InProcessReducers>(processes, options.replicas, [&](int rank) {
      ReducerOptions own = options;
      own.backend = backends_[static_cast<size_t>(rank)].get();
      return own;
    });
  }
  std::unique_ptr<backend::Executor> ExecutorOf(const InProcessReducers& reducers,
                                                int replica) const {
    return backends_[static_cast<size_t>(reducers.map().ProcessOf(replica))]->MakeExecutor();
  }
  // What the replicas throw.
  std::vector<std::string> Run(const ReducerOptions& options, int processes,
                               const std::function<void(ReplicaLink, backend::Stream&)>& body) {
    std::vector<Error> errors;
    {
      const auto reducers = Reducers(options, processes);
      RunReplicas(
          *reducers,
          [&](ReplicaLink link) {
            const auto executor = ExecutorOf(*reducers, link.replica);
            body(link, *executor);
          },
          errors);
    }
    std::vector<std::string> texts;
    for (const Error& error : errors) texts.push_back(error.what());
    return texts;
  }
  // Ones, summed over the group: who waits on the host for it waits for the device.
  static Tensor Sum(ReplicaLink link, backend::Stream& stream, Group group, std::string_view name,
                    int64_t elements = 3) {
    Tensor mine = stream.New({elements}, DType::kFloat64),
           result = stream.New({elements}, DType::kFloat64);
    stream.Fill(mine, 1);
    link.WaitOnHost(link.Start({.group = group,
                                .contribution = mine,
                                .ready = stream.Record(),
                                .result = result,
                                .name = name}));
    return result;
  }

  static std::vector<std::unique_ptr<backend::Backend>> Backends() {
    std::vector<std::unique_ptr<backend::Backend>> backends;
    for (int device = 0; device < 4; ++device)
      backends.push_back(backend::cuda::MakeBackend(device));
    return backends;
  }
  const std::vector<std::unique_ptr<backend::Backend>> backends_ = Backends();
};

TEST_F(NcclExchangeTest, ProgramsOfOverlappingGroupsEndInTheBitsOfTheTree) {
  for (int processes = 1; processes <= 4; ++processes) {
    for (const int replicas : {processes, 2 * processes + 1, 8}) {
      const auto program =
          testing::RandomProgram(replicas, static_cast<unsigned>(10 * processes + replicas));
      for (const int direct_processes : {1, 64}) {
        ReducerOptions options = Options(replicas);
        options.direct_processes_on_device = direct_processes;
        EXPECT_THAT(Run(options, processes,
                        [&](ReplicaLink link, backend::Stream& stream) {
                          RunProgram(program, link, &stream);
                        }),
                    IsEmpty());
      }
    }
  }
}

TEST_F(NcclExchangeTest, TheHostWaitsForNoReduction) {
  const auto program = testing::RandomProgram(4, 5);
  const auto reducers = Reducers(Options(4), 2);
  std::vector<Error> errors;
  std::latch given(4);
  std::atomic<int64_t> waits{-1};
  const int64_t before = emulation::HostSynchronizations();
  RunReplicas(
      *reducers,
      [&](ReplicaLink link) {
        const auto executor = ExecutorOf(*reducers, link.replica);
        std::vector<Tensor> results;
        for (const testing::Step& step : program) {
          results.push_back(executor->NewZeros({step.content.elements}, step.content.dtype));
          const auto handle = link.Start({.operation = step.content.operation,
                                          .group = step.GroupOf(link.replica),
                                          .contribution = executor->Clone(results.back()),
                                          .ready = executor->Record(),
                                          .result = results.back(),
                                          .channels = step.content.channels,
                                          .name = step.name});
          link.Wait(handle, *executor);
        }
        given.arrive_and_wait();
        int64_t unset = -1;
        waits.compare_exchange_strong(unset, emulation::HostSynchronizations());
        executor->Synchronize();
      },
      errors);
  EXPECT_TRUE(errors.empty()) << errors.front().what();
  EXPECT_EQ(waits, before);
}

TEST_F(NcclExchangeTest, NativeIsNcclsAllReduceAndMergesMomentsInTheOrderOfRanks) {
  constexpr int kReplicas = 4;
  const std::vector<int64_t> channels = {5, -3};
  const Content moments{.operation = Operation::kMergeMoments,
                        .dtype = DType::kFloat64,
                        .elements = 11 + 10,
                        .channels = channels};
  const Contributions values = testing::MomentContributions(kReplicas, channels, 3);
  for (const int processes : {1, 2, 3, 4}) {
    ReducerOptions options = Options(kReplicas);
    options.kind = ReducerKind::kNative;
    options.native_groups = {{1, 3}};
    EXPECT_THAT(
        Run(options, processes,
            [&](ReplicaLink link, backend::Stream& stream) {
              EXPECT_EQ(Sum(link, stream, {0, 4}, "all").OnHost().Data<double>()[2], 4);
              if (link.replica == 1 || link.replica == 2) {
                EXPECT_EQ(Sum(link, stream, {1, 3}, "middle").OnHost().Data<double>()[0], 2);
              } else {
                Sum(link, stream, {link.replica, link.replica + 1}, "middle");
              }
              Tensor merged = stream.New({moments.elements}, DType::kFloat64);
              const Tensor mine =
                  stream.Clone(TensorOf(moments, values[static_cast<size_t>(link.replica)]));
              link.WaitOnHost(link.Start({.operation = moments.operation,
                                          .group = {0, 4},
                                          .contribution = mine,
                                          .ready = stream.Record(),
                                          .result = merged,
                                          .channels = channels,
                                          .name = "moments"}));
              const auto expected = Expected(moments, values, 0, 4);
              const Tensor wanted = TensorOf(moments, expected),
                           got = std::as_const(merged).OnHost();
              for (int64_t i = 0; i < moments.elements; ++i) {
                const double a = wanted.Data<double>()[i], b = got.Data<double>()[i];
                EXPECT_TRUE((std::isnan(a) && std::isnan(b)) || a == b ||
                            std::abs(a - b) <= 1e-12 * std::abs(a))
                    << i << ": " << a << " and " << b;
              }
            }),
        IsEmpty())
        << processes << " processes";
  }
}

// -- Who is out of step
// -------------------------------------------------------------------------------

TEST_F(NcclExchangeTest, ProcessesThatReduceDifferentThingsAreNamed) {
  const auto errors = Run(Options(2), 2, [&](ReplicaLink link, backend::Stream& stream) {
    Sum(link, stream, {0, 2}, "same");
    Sum(link, stream, {0, 2}, link.replica == 0 ? "layer1.bn" : "layer2.bn");
    Sum(link, stream, {0, 2}, "more");
  });
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_THAT(errors, Each(HasSubstr(
                          "rank 1 replica 1 reduces 'layer2.bn' (3 doubles, sum), rank 0 replica 0 "
                          "'layer1.bn' (3 doubles, sum), both as reduction 1 of replicas 0..1")));
}

TEST_F(NcclExchangeTest, ProcessesThatLaunchInDifferentOrdersAreNamed) {
  const auto errors = Run(Options(4), 2, [&](ReplicaLink link, backend::Stream& stream) {
    const bool inner = link.replica == 1 || link.replica == 2;
    const Group middle = inner ? Group{1, 3} : Group{link.replica, link.replica + 1};
    if (link.replica < 2) Sum(link, stream, {0, 4}, "all");
    Sum(link, stream, middle, "middle");
    if (link.replica >= 2) Sum(link, stream, {0, 4}, "all");
  });
  ASSERT_EQ(errors.size(), 4u);
  EXPECT_THAT(errors,
              Each(AllOf(HasSubstr(
                  "rank 1 launches 'middle' (3 doubles, sum), reduction 0 of replicas 1..2, where "
                  "rank 0 launches 'all' (3 doubles, sum), reduction 0 of replicas 0..3"))));
}

// -- Waits without end
// ---------------------------------------------------------------------------------

TEST_F(NcclExchangeTest, WhoDoesNotComeIsNamedAndTheDeviceIsFreed) {
  const auto began = std::chrono::steady_clock::now();
  const auto errors = Run(Options(3, 1s), 3, [&](ReplicaLink link, backend::Stream& stream) {
    Sum(link, stream, {0, 3}, "first");
    if (link.replica == 1) {
      link.reducer->Report(1, 17, "backward", "layer1.0.bn1");
      // Computes for ever, until the others have ended.
      while (!link.reducer->failed()) std::this_thread::sleep_for(1ms);
      link.reducer->ThrowFailure();
    }
    Sum(link, stream, {0, 3}, "second");
  });
  ASSERT_EQ(errors.size(), 3u);
  EXPECT_THAT(
      errors,
      Each(AllOf(
          HasSubstr("'second' (3 doubles, sum), reduction 1 of replicas 0..2, which the device "
                    "was given"),
          HasSubstr("replica 1 (rank 1"), HasSubstr("step 17, backward, layer1.0.bn1"))));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 20s);
}

TEST_F(NcclExchangeTest, WhoDoesNotComeIsNamedAlsoWhereTheDriverDoesNotAnswer) {
  const auto began = std::chrono::steady_clock::now();
  const auto errors = Run(Options(2, 1s), 2, [&](ReplicaLink link, backend::Stream& stream) {
    Sum(link, stream, {0, 2}, "first");
    if (link.replica == 1) {
      link.reducer->Report(1, 17, "backward", "layer1.0.bn1");
      while (!link.reducer->failed()) std::this_thread::sleep_for(1ms);
      link.reducer->ThrowFailure();
    }
    // As where a thread waits for the device and holds the lock of the driver meanwhile.
    emulation::HoldQueries(0);
    Sum(link, stream, {0, 2}, "second");
  });
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_THAT(errors, Each(AllOf(HasSubstr("'second' (3 doubles, sum), reduction 1 of replicas "
                                           "0..1, which the device was given, whose driver does "
                                           "not answer"),
                                 HasSubstr("replica 1 (rank 1"),
                                 HasSubstr("step 17, backward, layer1.0.bn1"))));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 20s);
}

TEST_F(NcclExchangeTest, AKernelThatNeverEndsIsEnded) {
  emulation::BreakNccl({.rank = 1, .launch = 1});
  const auto errors = Run(Options(2, 1s), 2, [&](ReplicaLink link, backend::Stream& stream) {
    Sum(link, stream, {0, 2}, "first");
    link.reducer->board().SetProcess(Activity::kDevice, 1);
    Sum(link, stream, {0, 2}, "second");
  });
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_THAT(errors, Each(AllOf(HasSubstr("'second' (3 doubles, sum)"),
                                 HasSubstr("a GPU, or what is between them, does not answer"),
                                 HasSubstr("device, after 1 step"))));
}

TEST_F(NcclExchangeTest, AGpuThatStandsIsToldApartFromThoseThatWaitForIt) {
  std::atomic<int> ended{0};
  const auto errors = Run(Options(3, 1s), 3, [&](ReplicaLink link, backend::Stream& stream) {
    Sum(link, stream, {0, 3}, "first");
    link.reducer->board().SetProcess(Activity::kDevice, 1);
    if (link.replica == 1) emulation::HoldDevice(1);
    // Released when all three have failed (or, should the test fail, ended): a device that goes on
    // at the first one's failure may end the reduction before another rank has heard of it. The
    // end of this rank's sum, which asks the thread to stop, is therefore no reason to release.
    const std::jthread release([&](const std::stop_token& over) {
      while (!link.reducer->failed() && !over.stop_requested()) std::this_thread::sleep_for(1ms);
      ++ended;
      while (ended < 3) std::this_thread::sleep_for(1ms);
      emulation::HoldDevice(-1);
    });
    Sum(link, stream, {0, 3}, "second");
  });
  ASSERT_EQ(errors.size(), 3u);
  EXPECT_THAT(
      errors,
      Each(AllOf(HasSubstr("'second' (3 doubles, sum), reduction 1 of replicas 0..2, which the "
                           "device was given (that of rank 1 has not come to it)"),
                 HasSubstr("a GPU, or what is between them, does not answer"),
                 HasSubstr("rank 1 on "), Not(HasSubstr("\n  rank 0 on ")),
                 Not(HasSubstr("\n  rank 2 on ")))));
}

TEST_F(NcclExchangeTest, AnErrorOfNcclSaysWhatWasOutstanding) {
  emulation::BreakNccl({.rank = 1, .launch = 1, .error = true});
  const auto began = std::chrono::steady_clock::now();
  const auto errors = Run(Options(2), 2, [&](ReplicaLink link, backend::Stream& stream) {
    link.reducer->Report(link.replica, 3, "forward", "bn1");
    Sum(link, stream, {0, 2}, "first");
    Sum(link, stream, {0, 2}, "second");
  });
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_THAT(errors, Each(AllOf(HasSubstr("unhandled system error"),
                                 HasSubstr("'second' (3 doubles, sum)"))));
  // Of the rank that has it.
  EXPECT_THAT(errors, ::testing::Contains(HasSubstr("rank 1: step 3, forward, bn1")));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 20s) << "long before the stall timeout";
}

TEST_F(NcclExchangeTest, AReplicaThatFailsEndsTheWaitsOfAllOthers) {
  const auto began = std::chrono::steady_clock::now();
  const auto errors = Run(Options(4), 2, [&](ReplicaLink link, backend::Stream& stream) {
    Sum(link, stream, {0, 4}, "first");
    if (link.replica == 3) throw Error(ErrorCode::kDataLoss, "a damaged image");
    Sum(link, stream, {0, 4}, "second");
  });
  ASSERT_EQ(errors.size(), 4u);
  EXPECT_THAT(errors, Each(HasSubstr("a damaged image")));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 20s);
}

// -- Planted mistakes
// -------------------------------------------------------------------------------------

// How many sums are wrong where the executor is late, with the event of the contribution and
// without.
TEST_F(NcclExchangeTest, AContributionWhoseEventIsNotWaitedForShows) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "it is a race, and would be reported as one";
#endif
  emulation::SetDelays({.share = 1, .microseconds = 2000});
  for (const bool waits : {true, false}) {
    std::atomic<int> wrong{0};
    const auto errors = Run(Options(2), 2, [&](ReplicaLink link, backend::Stream& stream) {
      Tensor mine = stream.New({1000}, DType::kFloat64), result = stream.New({1000}, mine.dtype());
      for (int i = 0; i < 5; ++i) {
        stream.Fill(mine, -1);
        stream.Synchronize();
        // Longer than the reduction takes.
        for (int k = 0; k < 40; ++k) stream.Fill(mine, -1);
        stream.Fill(mine, i);
        link.WaitOnHost(link.Start({.group = {0, 2},
                                    .contribution = mine,
                                    .ready = waits ? stream.Record() : backend::Event(),
                                    .result = result,
                                    .name = "sum"}));
        if (std::as_const(result).OnHost().Data<double>()[999] != 2 * i) ++wrong;
        stream.Synchronize();
      }
    });
    EXPECT_THAT(errors, IsEmpty());
    if (waits) {
      EXPECT_EQ(wrong, 0);
    } else {
      EXPECT_GT(wrong, 0);
    }
  }
  emulation::SetDelays({});
}

// -- Setting up
// ----------------------------------------------------------------------------------------

std::vector<std::string> InEachProcess(int processes,
                                       const std::function<std::string(Communicator&)>& body) {
  const auto communicators = MakeInProcessCommunicators(processes);
  std::vector<std::string> results(static_cast<size_t>(processes));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < processes; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        results[static_cast<size_t>(rank)] = body(*communicators[static_cast<size_t>(rank)]);
      } catch (const Error& error) {
        results[static_cast<size_t>(rank)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return results;
}

TEST_F(NcclExchangeTest, IsForProcessesThatHaveAGpuEach) {
  EXPECT_THAT(InEachProcess(3,
                            [](Communicator& control) {
                              const auto merges =
                                  backend::cuda::MakeBackend(control.rank())->MakeMergeStream();
                              return WhyNotNccl(control, *merges);
                            }),
              Each(""));
  EXPECT_THAT(InEachProcess(3,
                            [](Communicator& control) {
                              const auto merges =
                                  backend::cuda::MakeBackend(control.rank() % 2)->MakeMergeStream();
                              return WhyNotNccl(control, *merges);
                            }),
              Each(HasSubstr("rank 0 and rank 2 share a GPU, which NCCL refuses")));
  // Parts of one GPU have names of their own, and NCCL goes by the place in the host.
  emulation::SetPartsOfOneGpu(true);
  EXPECT_THAT(InEachProcess(2,
                            [](Communicator& control) {
                              const auto merges =
                                  backend::cuda::MakeBackend(control.rank())->MakeMergeStream();
                              return WhyNotNccl(control, *merges);
                            }),
              Each(HasSubstr("rank 0 and rank 1 share a GPU, which NCCL refuses")));
  emulation::SetPartsOfOneGpu(false);
  EXPECT_THAT(InEachProcess(2,
                            [](Communicator& control) {
                              const auto merges =
                                  control.rank() == 0
                                      ? backend::cuda::MakeBackend()->MakeMergeStream()
                                      : backend::MakeReferenceBackend()->MakeMergeStream();
                              return WhyNotNccl(control, *merges);
                            }),
              Each(HasSubstr("rank 1 computes on no GPU")));
}

TEST_F(NcclExchangeTest, AProcessThatCannotJoinIsToldToAll) {
  const auto errors = InEachProcess(2, [](Communicator& control) {
    const auto merges = control.rank() == 0 ? backend::cuda::MakeBackend()->MakeMergeStream()
                                            : backend::MakeReferenceBackend()->MakeMergeStream();
    MakeNcclExchange(control, *merges, 20s);
    return std::string();
  });
  EXPECT_THAT(errors,
              Each(HasSubstr("rank 1 computes on none: --backend cuda, or --exchange mpi")));
}

// NCCL does not tell those who wait for it.
TEST_F(NcclExchangeTest, AFailureToJoinIsToldToThoseWhoWaitAtOnce) {
  emulation::BreakNccl({.rank = 1, .launch = -1, .error = true});
  const auto began = std::chrono::steady_clock::now();
  const auto errors = InEachProcess(3, [](Communicator& control) {
    const auto merges = backend::cuda::MakeBackend(control.rank())->MakeMergeStream();
    MakeNcclExchange(control, *merges, 60s);
    return std::string();
  });
  ASSERT_EQ(errors.size(), 3u);
  EXPECT_THAT(errors, Each(HasSubstr("rank 1 of 3 joins the others (ncclCommInitRankConfig): "
                                     "unhandled system error")));
  EXPECT_THAT(errors, Each(HasSubstr("; --exchange mpi does without NCCL")));
  EXPECT_THAT(errors[0], HasSubstr("rank 1 could not use NCCL: "));
  EXPECT_THAT(errors[2], HasSubstr("rank 1 could not use NCCL: "));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 20s);
}

}  // namespace
}  // namespace syncbn::comm
