// What a run is as a library call: runs side by side do not touch each other, data sets are loaded
// once for all of them, and nothing is said or ended but through what was handed in.
#include "train/training_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <latch>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <utility>

#include "base/error.h"
#include "comm/in_process.h"
#include "tests/support/in_process_run.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_device.h"

namespace syncbn::train {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<backend::Backend> TestBackend() {
  return kTestBackend == std::string("cpu") ? backend::OnTestDevice(backend::MakeCpuBackend)
                                            : backend::OnTestDevice(backend::MakeReferenceBackend);
}

v1::RunSpec Small(int replicas, int batch, const std::string& norm_batch, int steps) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(replicas, batch, norm_batch));
  spec.mutable_train()->set_max_steps(steps);
  return spec;
}

TEST(TrainingRun, TwoRunsSideBySideEndInTheBitsOfEachAloneAndLoadTheirDataOnce) {
  const v1::RunSpec specs[] = {Small(4, 8, "global", 12), Small(3, 5, "replica", 15)};
  const InProcessRunResult alone[] = {RunInProcess(specs[0], {.processes = 2}),
                                      RunInProcess(specs[1], {.processes = 3})};
  std::atomic<int> loads = 0;
  data::DatasetCache datasets([&](const v1::DataSpec& spec, uint64_t seed) {
    ++loads;
    return data::MakeDataset(spec, seed);
  });
  // Neither goes on before the other has begun.
  std::latch together(2);
  InProcessRunResult both[2];
  std::exception_ptr failures[2];
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] {
        try {
          both[i] = RunInProcess(specs[i], {.processes = i == 0 ? 2 : 3,
                                            .datasets = &datasets,
                                            .adjust = [&](int process, TrainerOptions& options) {
                                              if (process > 0) return;
                                              options.on_start = [&](const RunPlan&) {
                                                together.arrive_and_wait();
                                              };
                                            }});
        } catch (...) {
          failures[i] = std::current_exception();
        }
      });
    }
  }
  for (size_t i = 0; i < 2; ++i) {
    SCOPED_TRACE(i);
    if (failures[i]) std::rethrow_exception(failures[i]);
    EXPECT_EQ(both[i].StepDigests().size(), i == 0 ? 12u : 15u);
    EXPECT_EQ(both[i].StepDigests(), alone[i].StepDigests());
    EXPECT_EQ(both[i].digests, alone[i].digests);
  }
  EXPECT_EQ(loads, 1);
}

// A back end that calls `before` whenever it is asked for an executor: once a run has begun.
class HookedBackend : public backend::Backend {
 public:
  HookedBackend(const backend::Backend& inner, std::function<void()> before)
      : inner_(inner), before_(std::move(before)) {}
  std::string_view name() const override { return inner_.name(); }
  const Device& device() const override { return inner_.device(); }
  backend::ElementTypes types() const override { return inner_.types(); }
  std::string Description() const override { return inner_.Description(); }
  std::unique_ptr<backend::Executor> MakeExecutor() const override {
    before_();
    return inner_.MakeExecutor();
  }
  std::unique_ptr<backend::MergeStream> MakeMergeStream() const override {
    return inner_.MakeMergeStream();
  }

 private:
  const backend::Backend& inner_;
  const std::function<void()> before_;
};

TEST(TrainingRun, ARunOnTheSameCommunicatorsIsNotHeldUpByOneThatHasBegunAndIsNotReadyEverywhere) {
  const auto backend = TestBackend();
  data::DatasetCache datasets;
  const PreparedRun early(Small(4, 8, "global", 5), datasets),
      late(Small(2, 5, "replica", 5), datasets);
  auto communicators = comm::MakeInProcessCommunicators(2);
  // Runs make no exchange on these: one that is made fails at once, instead of hanging.
  for (const auto& one : communicators) one->SetTimeout(std::chrono::milliseconds(1));
  // The early run has begun in both processes; in process 1 it goes on when the late one is over.
  std::latch begun(2), over(2);
  std::atomic<bool> counted[2] = {false, false};
  const HookedBackend begins[] = {{*backend,
                                   [&] {
                                     if (!counted[0].exchange(true)) begun.count_down();
                                   }},
                                  {*backend, [&] {
                                     if (!counted[1].exchange(true)) begun.count_down();
                                     over.wait();
                                   }}};
  std::array<std::string, 4> said;
  const auto train = [&](const PreparedRun& run, const backend::Backend& on, size_t process,
                         std::string& end) {
    try {
      end = RunEndName(
          RunTraining(run, {.backend = &on, .communicator = communicators[process].get()})
              .summary.end);
    } catch (const std::exception& error) {
      end = error.what();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (size_t process = 0; process < 2; ++process) {
      threads.emplace_back([&, process] { train(early, begins[process], process, said[process]); });
      threads.emplace_back([&, process] {
        begun.wait();
        train(late, *backend, process, said[2 + process]);
        over.count_down();
      });
    }
  }
  for (const std::string& end : said) EXPECT_EQ(end, RunEndName(RunEnd::kFinished));
}

TEST(TrainingRun, EndsInTheSameBitsOnADeviceThatNobodyMayLookInto) {
  const v1::RunSpec spec = Small(4, 8, "global", 5);
  const auto make =
      kTestBackend == std::string("cpu") ? backend::MakeCpuBackend : backend::MakeReferenceBackend;
  const auto host = make(AllocateAligned), device = backend::MakeCheckedBackend(make);
  const RunResult there = RunTraining(spec, {.backend = device.get()});
  EXPECT_EQ(there.summary.digest, RunTraining(spec, {.backend = host.get()}).summary.digest);
  EXPECT_TRUE(there.state.parameters.on_host());
}

TEST(TrainingRun, InAPrecisionThatItsBackEndHasNotIsRefusedBeforeItTrains) {
  for (const auto& [precision, name] :
       {std::pair(v1::PRECISION_TF32, "tf32"), std::pair(v1::PRECISION_BF16, "bf16")}) {
    v1::RunSpec spec = Small(4, 8, "global", 5);
    spec.set_precision(precision);
    for (const auto& backend : {backend::MakeReferenceBackend(), backend::MakeCpuBackend()}) {
      bool begun = false;
      RunEnvironment environment{.backend = backend.get()};
      environment.training.on_start = [&](const RunPlan&) { begun = true; };
      try {
        RunTraining(spec, std::move(environment));
        FAIL() << backend->name() << " computes in " << name;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kUnimplemented);
        EXPECT_THAT(error.message(), HasSubstr("the " + std::string(backend->name()) +
                                               " back end does not compute in " + name));
        EXPECT_THAT(error.message(), HasSubstr("cuda back end, on a GPU (--backend cuda)"));
      }
      EXPECT_FALSE(begun);
    }
  }
}

TEST(TrainingRun, NeedsABackEndAndNothingElseAndSaysNothing) {
  const v1::RunSpec spec = Small(4, 8, "global", 5);
  const auto backend = TestBackend();
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const RunResult result = RunTraining(spec, {.backend = backend.get()});
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(result.summary.end, RunEnd::kFinished);
  EXPECT_EQ(result.summary.steps, 5);
  EXPECT_TRUE(result.state.parameters.defined());
  // It evaluates where nobody asks otherwise; that moves no bit.
  EXPECT_EQ(result.summary.test.size(), 1u);
  EXPECT_EQ(result.summary.digest, RunInProcess(spec, {.processes = 2}).digests[0]);
}

TEST(TrainingRun, EndsAfterTheStepAtHandWhenTheTokenOfAnyProcessAsksForIt) {
  const v1::RunSpec spec = Small(4, 8, "global", 30);
  std::stop_source source;
  const InProcessRunResult run =
      RunInProcess(spec, {.processes = 2, .adjust = [&](int process, TrainerOptions& options) {
                            if (process == 0) return;
                            options.stop = source.get_token();
                            options.on_batch = [&](int64_t step, int, data::Batch&) {
                              if (step == 3) source.request_stop();
                            };
                          }});
  EXPECT_EQ(run.summary.end, RunEnd::kStopped);
  EXPECT_EQ(run.summary.steps, 5);
}

// How a run on two processes fails in each: the error's code and text; empty where it does not.
std::array<std::string, 2> ErrorsOfTwo(
    const v1::RunSpec& spec,
    const std::function<void(size_t process, RunEnvironment& environment)>& adjust) {
  const auto backend = TestBackend();
  data::DatasetCache datasets;
  const PreparedRun run(spec, datasets);
  auto communicators = comm::MakeInProcessCommunicators(2);
  std::array<std::string, 2> said;
  std::vector<std::jthread> threads;
  for (size_t process = 0; process < 2; ++process) {
    threads.emplace_back([&, process] {
      RunEnvironment environment{.backend = backend.get(),
                                 .communicator = communicators[process].get()};
      adjust(process, environment);
      try {
        RunTraining(run, std::move(environment));
      } catch (const Error& error) {
        said[process] = std::string(ErrorCodeName(error.code())) + ": " + error.what();
      }
    });
  }
  threads.clear();
  return said;
}

TEST(TrainingRun, WhatTheRootCannotRestoreTheOthersHearAtOnce) {
  v1::RunSpec spec = Small(4, 8, "global", 2);
  TempFolder out;
  RunInProcess(spec, {.out = out.path()});
  // Another width: its tensors do not fit the checkpoint.
  spec.mutable_model()->mutable_layers(0)->mutable_conv()->set_out(16);
  const auto said = ErrorsOfTwo(spec, [&](size_t process, RunEnvironment& environment) {
    if (process == 0) environment.resume_from = CheckpointStore({.out = out.path()}).Latest();
  });
  EXPECT_TRUE(said[0].starts_with("FAILED_PRECONDITION: ")) << said[0];
  EXPECT_TRUE(said[1].starts_with("ABORTED: rank 0 could not restore")) << said[1];
}

TEST(TrainingRun, AFailureOfOneProcessIsToldToTheOthersWithItsCause) {
  const auto said =
      ErrorsOfTwo(Small(4, 8, "global", 5), [](size_t process, RunEnvironment& environment) {
        if (process == 0) return;
        environment.training.on_start = [](const RunPlan&) { throw std::bad_alloc(); };
      });
  EXPECT_TRUE(said[1].starts_with("RESOURCE_EXHAUSTED: ")) << said[1];
  EXPECT_TRUE(said[0].starts_with("ABORTED: ")) << said[0];
  EXPECT_NE(said[0].find("bad_alloc"), std::string::npos) << said[0];
}

// The reference back end, until an executor is wanted of it.
class WithoutExecutors final : public backend::Backend {
 public:
  std::string_view name() const override { return backend_->name(); }
  const Device& device() const override { return backend_->device(); }
  backend::ElementTypes types() const override { return backend_->types(); }
  std::string Description() const override { return backend_->Description(); }
  std::unique_ptr<backend::Executor> MakeExecutor() const override {
    throw Error(ErrorCode::kResourceExhausted, "no more executors");
  }
  std::unique_ptr<backend::MergeStream> MakeMergeStream() const override {
    return backend_->MakeMergeStream();
  }

 private:
  std::unique_ptr<backend::Backend> backend_ = TestBackend();
};

TEST(TrainingRun, WhoCannotEvenAssembleItsPartIsNotWaitedFor) {
  const WithoutExecutors none;
  const auto start = std::chrono::steady_clock::now();
  const auto said =
      ErrorsOfTwo(Small(4, 8, "global", 5), [&](size_t process, RunEnvironment& environment) {
        if (process == 1) environment.backend = &none;
      });
  EXPECT_TRUE(said[1].starts_with("RESOURCE_EXHAUSTED: no more executors")) << said[1];
  EXPECT_TRUE(said[0].starts_with("ABORTED: rank 1 could not begin the run: no more executors"))
      << said[0];
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(300))
      << "it would have waited for 600";
}

TEST(TrainingRun, WhoCannotTakeTheBoardFailsTheRunWithItsCauseAndIsToldThatTheBoardIsGone) {
  std::atomic<int> taken_back = 0;
  const auto said =
      ErrorsOfTwo(Small(4, 8, "global", 5), [&](size_t process, RunEnvironment& environment) {
        if (process == 0) return;
        environment.on_board = [&](comm::ProgressBoard* board) {
          if (board != nullptr) throw std::runtime_error("no place for the board");
          ++taken_back;
        };
      });
  EXPECT_EQ(said[1], "INTERNAL: no place for the board");
  EXPECT_TRUE(said[0].starts_with("ABORTED: ")) << said[0];
  EXPECT_NE(said[0].find("no place for the board"), std::string::npos) << said[0];
  EXPECT_EQ(taken_back, 1);
}

TEST(TrainingRun, WhatIsThrownAndIsNoExceptionOfTheLibraryIsAnErrorInEveryProcess) {
  const auto said =
      ErrorsOfTwo(Small(4, 8, "global", 5), [](size_t process, RunEnvironment& environment) {
        if (process == 0) environment.training.on_start = [](const RunPlan&) { throw 7; };
      });
  EXPECT_TRUE(said[0].starts_with("INTERNAL: ")) << said[0];
  EXPECT_TRUE(said[1].starts_with("ABORTED: ")) << said[1];
  EXPECT_NE(said[1].find("no std::exception"), std::string::npos) << said[1];
}

}  // namespace
}  // namespace syncbn::train
