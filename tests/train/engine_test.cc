// What replicas of one process do to each other: turns, stalls, and how a run ends in which one never comes
// back. Time is told to the watchdog, so that a busy machine changes nothing.
#include "train/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "comm/in_process.h"
#include "comm/make_reducer.h"
#include "comm/progress_board.h"
#include "comm/stall.h"
#include "tests/support/in_process_run.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_device.h"

namespace syncbn::train {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

class EngineTest : public testing::Test {
 protected:
  // Of 4 replicas that do not need each other inside a pass, one at a time.
  EngineOptions Options() const {
    return {.replicas = 4, .concurrency = 1, .look_every = 1ms, .time_to_come_back = 0ms};
  }
  void Reduce(Engine& engine, int replica) {
    engine.Link(replica).Reduce({.group = {0, 4},
                                 .contribution = Tensor::Zeros({3}, DType::kFloat64),
                                 .name = "evaluation"});
  }
  comm::ProgressBoard& board() { return reducer_->board(); }
  // Returns when every other replica waits: a thread that the machine keeps from its next line would be late by
  // a clock that runs without it.
  void AwaitThatOthersWait(int replica) {
    for (int other = 0; other < 4; ++other) {
      const auto waits = [&] {
        const Activity activity = board().Read(other).activity;
        return activity == Activity::kTurn || activity == Activity::kReduction;
      };
      while (other != replica && !waits()) std::this_thread::sleep_for(1ms);
    }
  }

  const v1::RunSpec spec_ = RunSpecFromYaml(SmallRun(4, 2, "replica"));
  const std::unique_ptr<nn::Model> model_ =
      nn::BuildModel(spec_.model(), spec_.cluster(),
                     {.height = 32, .width = 32, .channels = 3, .classes = 10});
  const std::unique_ptr<backend::Backend> backend_ =
      backend::OnTestDevice(backend::MakeReferenceBackend);
  ManualClock clock_;
  const std::vector<std::unique_ptr<comm::Communicator>> communicators_ =
      comm::MakeInProcessCommunicators(1);
  const std::unique_ptr<comm::Reducer> reducer_ = comm::MakeReducer(
      *communicators_[0], {.replicas = 4, .stall_timeout = 40ms, .clock = &clock_});
};

TEST_F(EngineTest, ReplicasThatWaitForTheirTurnAreNotStalled) {
  Engine engine(Options(), *model_, *backend_, *reducer_);
  engine.Run([&](int replica) {
    {
      const ExecutorPool::Lease lease = engine.TakeTurn(replica, 3);
      // Five times the stall timeout, in layers of a quarter of it.
      for (int layer = 0; layer < 20; ++layer) {
        reducer_->Report(replica, 3, "forward", "conv");
        AwaitThatOthersWait(replica);
        clock_.Advance(10ms);
        std::this_thread::sleep_for(2ms);  // those who wait look around
      }
    }
    Reduce(engine, replica);
  });
}

TEST_F(EngineTest, AReplicaThatKeepsTheOthersFromTheirTurnIsNamedAndTheProcessCanLeave) {
  std::atomic<bool> stuck{false};
  std::mutex mutex;
  std::vector<comm::Stall> told;
  EngineOptions options = Options();
  options.on_stuck = [&](const Error& error) {
    const auto* stall = dynamic_cast<const comm::StallError*>(&error);
    ASSERT_NE(stall, nullptr) << error.what();
    const std::lock_guard lock(mutex);
    told.push_back(stall->stall());
    stuck = true;
  };
  Engine engine(options, *model_, *backend_, *reducer_);
  std::atomic<bool> inside{false};
  std::jthread time([&] {
    while (!inside) std::this_thread::sleep_for(1ms);  // threads may be long in coming
    while (!stuck) {
      clock_.Advance(5ms);
      std::this_thread::sleep_for(1ms);
    }
  });
  try {
    engine.Run([&](int replica) {
      const ExecutorPool::Lease lease = engine.TakeTurn(replica, 3);
      reducer_->Report(replica, 3, "forward", "conv1");
      inside = true;
      while (!stuck) std::this_thread::sleep_for(1ms);
    });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const comm::StallError& error) {
    EXPECT_THAT(error.what(), HasSubstr("replica 0 (rank 0"));
    EXPECT_THAT(error.what(), HasSubstr("step 3, forward, conv1, no progress for"));
  }
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told[0].waited_for, "replicas of rank 0");
  EXPECT_THAT(told[0].missing_ranks, ElementsAre(0));
  EXPECT_EQ(told[0].layer, "conv1");
}

TEST_F(EngineTest, ADataLoaderThatGivesNothingToAnybodyIsCalledAStallInTheEnd) {
  std::atomic<bool> stuck{false};
  EngineOptions options = Options();
  options.on_stuck = [&](const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("waiting for data"));
    stuck = true;
  };
  Engine engine(options, *model_, *backend_, *reducer_);
  std::atomic<int> waiting_for_data{0};
  std::jthread time([&] {
    while (waiting_for_data < 4) std::this_thread::sleep_for(1ms);  // threads may be long in coming
    while (!stuck) {
      clock_.Advance(10ms);
      std::this_thread::sleep_for(1ms);
    }
  });
  engine.Run([&](int replica) {
    const Engine::Waiting waiting(engine, replica, 3, Activity::kData);
    ++waiting_for_data;
    while (!stuck) std::this_thread::sleep_for(1ms);
  });
}

TEST_F(EngineTest, AFailureElsewhereReachesThoseWhoWaitForTheirTurn) {
  Engine engine(Options(), *model_, *backend_, *reducer_);
  std::atomic<int> told{0};
  try {
    engine.Run([&](int replica) {
      try {
        const ExecutorPool::Lease lease = engine.TakeTurn(replica, 3);
        reducer_->Poison(3, "its disk is full");
        // The turn is not given up before the others have heard of it.
        while (told < 3) std::this_thread::sleep_for(1ms);
      } catch (const Error& error) {
        EXPECT_THAT(error.what(), HasSubstr("its disk is full"));
        ++told;
        throw;
      }
    });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kAborted);
  }
  EXPECT_EQ(told, 3);
}

TEST_F(EngineTest, SaysWhatReplicasWaitForAndWhenTheyRest) {
  Engine engine(Options(), *model_, *backend_, *reducer_);
  EXPECT_EQ(board().Read(2).activity, Activity::kRest);
  EXPECT_FALSE(board().ReadProcess(0).in_round);
  engine.Run([&](int replica) {
    EXPECT_TRUE(board().ReadProcess(0).in_round);
    {
      const Engine::Waiting waiting(engine, replica, 7, Activity::kData);
      EXPECT_EQ(board().Read(replica).Describe(), "step 7, waiting for data");
    }
    const ExecutorPool::Lease lease = engine.TakeTurn(replica, 7);
    EXPECT_EQ(board().Read(replica).activity, Activity::kTurn);
    reducer_->Report(replica, 7, "forward", "conv1");
    EXPECT_EQ(board().Read(replica).Describe(), "step 7, forward, conv1");
  });
  EXPECT_FALSE(board().ReadProcess(0).in_round);
  for (int replica = 0; replica < 4; ++replica) {
    EXPECT_EQ(board().Read(replica).activity, Activity::kRest);
    EXPECT_EQ(board().Read(replica).step, 7);
  }
}

TEST(Trainer, SaysWhatItIsAt) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(2, 8, "replica"));
  spec.mutable_train()->set_max_steps(2);
  TempFolder out;
  std::vector<std::string> told;
  RunInProcess(spec, {.out = out.path(),
                      .adjust =
                          [&](int, TrainerOptions& options) {
                            options.evaluate = true;
                            options.dump_steps = 1;
                            options.on_phase = [&](Activity activity, int64_t steps, double) {
                              told.push_back(std::to_string(steps) + " " +
                                             std::string(NameOf(activity)));
                            };
                          },
                      .after =
                          [](int, Engine& engine) {
                            const comm::ProcessStatus status = engine.reducer().board().ReadProcess(0);
                            EXPECT_EQ(status.Describe(), "finish, after 2 steps");
                          }});
  EXPECT_THAT(told, ElementsAre("0 train", "1 dump", "1 record", "1 train", "2 record", "2 evaluate",
                                "2 record", "2 checkpoint", "2 finish"));
}

}  // namespace
}  // namespace syncbn::train
