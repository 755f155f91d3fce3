// Steps that are launched before the figures of the one before are known (train/trainer_steps.cc),
// on a device that is not the host: a run comes to the same as where every step is waited for.
//
// The run that is compared with has `output.digests`, which waits for every step.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/in_process_run.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_device.h"
#include "train/checkpoint_store.h"
#include "train/trainer.h"

namespace syncbn::train {
namespace {

using ::testing::ElementsAre;
using Adjust = std::function<void(int process, TrainerOptions& options)>;

v1::RunSpec Spec(int steps, bool waits) {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 8, "global"));
  spec.mutable_train()->set_max_steps(steps);
  spec.mutable_train()->mutable_evaluate()->set_every_epochs(2);
  spec.mutable_train()->mutable_checkpoint()->set_every_epochs(1.25);
  spec.mutable_train()->mutable_checkpoint()->set_keep(9);
  spec.mutable_output()->set_digests(waits);
  return spec;
}

bool OnAnotherDevice() {
  const auto backend = backend::OnTestDevice(backend::MakeCpuBackend);
  return &backend->device() != &Device::Host();
}

// Images of these steps hold a NaN.
Adjust Poison(std::function<bool(int64_t step)> poisoned) {
  return [poisoned](int, TrainerOptions& options) {
    options.evaluate = true;
    options.on_batch = [poisoned](int64_t step, int replica, data::Batch& batch) {
      if (replica == 2 && poisoned(step)) {
        batch.images.Data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
      }
    };
  };
}
bool Never(int64_t) {
  return false;
}

// But for what hangs on time, and digests.
std::vector<std::string> Texts(const std::vector<MetricRecord>& records) {
  std::vector<std::string> texts;
  for (MetricRecord record : records) {
    record.images_per_second.reset();
    record.milliseconds.reset();
    record.digest.reset();
    texts.push_back(record.ToJson());
  }
  return texts;
}

std::vector<std::string> CheckpointsIn(const std::filesystem::path& out) {
  std::vector<std::string> all;
  const CheckpointStore store({.out = out});
  for (const int64_t step : store.Steps()) {
    const Manifest manifest = CheckpointStore::Load(store.FolderOf(step)).manifest;
    all.push_back(std::to_string(step) + " " + manifest.state_digest.Hex() + " " +
                  std::to_string(manifest.optimizer_updates) + " " +
                  std::to_string(manifest.counters.skipped_steps));
  }
  return all;
}

struct Ended {
  InProcessRunResult run;
  std::vector<std::string> checkpoints;
};

Ended Train(int steps, bool waits, int processes, const Adjust& adjust) {
  TempFolder out;
  InProcessRunResult run = RunInProcess(
      Spec(steps, waits), {.processes = processes, .out = out.path(), .adjust = adjust});
  return {std::move(run), CheckpointsIn(out.path())};
}

void ExpectEqual(const Ended& ahead, const Ended& waiting) {
  EXPECT_EQ(Texts(ahead.run.records), Texts(waiting.run.records));
  EXPECT_EQ(ahead.checkpoints, waiting.checkpoints);
  EXPECT_EQ(ahead.run.digests, waiting.run.digests);
  const Summary &a = ahead.run.summary, &b = waiting.run.summary;
  EXPECT_EQ(a.end, b.end);
  EXPECT_EQ(a.reason.substr(0, a.reason.find(" 'syncbn")),
            b.reason.substr(0, b.reason.find(" 'syncbn")));
  EXPECT_EQ(a.steps, b.steps);
  EXPECT_EQ(a.samples, b.samples);
  EXPECT_EQ(a.skipped_steps, b.skipped_steps);
  EXPECT_EQ(a.best_test_accuracy, b.best_test_accuracy);
  ASSERT_EQ(a.train.has_value(), b.train.has_value());
  if (a.train) {
    EXPECT_EQ(a.train->loss, b.train->loss);
  }
  EXPECT_EQ(a.traffic.steps, b.traffic.steps);
  EXPECT_EQ(a.traffic.reductions, b.traffic.reductions);
}

// Launches ("L3": requests were looked at) and records ("R3") of a run of the root.
class Order : public RunObserver {
 public:
  void Adjust(int process, TrainerOptions& options) {
    if (process != 0) return;
    options.observer = this;
    options.control_requests = [this] {
      seen_.push_back("L" + std::to_string(launches_++));
      return ControlRequests();
    };
  }
  void OnStep(const MetricRecord& record, const EpochSums&) override {
    seen_.push_back("R" + std::to_string(record.step));
  }
  const std::vector<std::string>& seen() const { return seen_; }

 private:
  int64_t launches_ = 0;
  std::vector<std::string> seen_;
};

// Every 2 epochs, which are of 4 steps, an evaluation, every 5 steps a checkpoint.
TEST(Trainer, TakesTheFiguresOfAStepBehindTheLaunchOfTheNext) {
  Order order;
  Train(10, false, 2, [&](int process, TrainerOptions& options) {
    options.evaluate = true;
    order.Adjust(process, options);
  });
  if (OnAnotherDevice()) {
    EXPECT_THAT(order.seen(), ElementsAre("L0", "L1", "R0", "L2", "R1", "L3", "R2", "L4", "R3",
                                          "R4",                                // checkpoint
                                          "L5", "L6", "R5", "L7", "R6", "R7",  // evaluation
                                          "L8", "L9", "R8", "R9"));
  } else {
    EXPECT_THAT(order.seen(),
                ElementsAre("L0", "R0", "L1", "R1", "L2", "R2", "L3", "R3", "L4", "R4", "L5", "R5",
                            "L6", "R6", "L7", "R7", "L8", "R8", "L9", "R9"));
  }
}

TEST(Trainer, WaitsForEveryStepWhoseDigestIsRecorded) {
  Order order;
  Train(3, true, 1, [&](int process, TrainerOptions& options) { order.Adjust(process, options); });
  EXPECT_THAT(order.seen(), ElementsAre("L0", "R0", "L1", "R1", "L2", "R2"));
}

TEST(Trainer, ComesToTheSameWhereStepsAreLaunchedAhead) {
  const auto adjust = Poison([](int64_t step) { return step == 2 || step == 6 || step == 7; });
  v1::RunSpec spec = Spec(11, true);
  for (const int processes : {1, 2, 4}) {
    SCOPED_TRACE(processes);
    TempFolder out;
    spec.mutable_train()->mutable_max_skipped()->set_in_all(3);
    spec.mutable_output()->set_digests(true);
    const InProcessRunResult waiting = RunInProcess(spec, {.out = out.path(), .adjust = adjust});
    TempFolder other;
    spec.mutable_output()->set_digests(false);
    const InProcessRunResult ahead =
        RunInProcess(spec, {.processes = processes, .out = other.path(), .adjust = adjust});
    EXPECT_EQ(ahead.summary.skipped_steps, 3);
    EXPECT_EQ(Texts(ahead.records), Texts(waiting.records));
    EXPECT_EQ(CheckpointsIn(other.path()), CheckpointsIn(out.path()));
    for (const Digest& digest : ahead.digests) EXPECT_EQ(digest, waiting.digests[0]);
  }
}

TEST(Trainer, DivergesInTheSameStepWhereStepsAreLaunchedAhead) {
  // In all: 1 is the default of so short a run.
  const auto in_all = Poison([](int64_t step) { return step == 1 || step == 6; });
  const Ended ahead = Train(12, false, 2, in_all);
  EXPECT_EQ(ahead.run.summary.end, RunEnd::kDiverged);
  EXPECT_EQ(ahead.run.summary.steps, 7);
  ExpectEqual(ahead, Train(12, true, 2, in_all));
  // In a row.
  const auto settings = [](bool waits) {
    v1::RunSpec spec = Spec(12, waits);
    spec.mutable_train()->mutable_max_skipped()->set_in_a_row(2);
    spec.mutable_train()->mutable_max_skipped()->set_in_all(9);
    return spec;
  };
  const auto in_a_row = Poison([](int64_t step) { return step == 1 || step >= 5; });
  const InProcessRunResult a = RunInProcess(settings(false), {.processes = 2, .adjust = in_a_row});
  const InProcessRunResult b = RunInProcess(settings(true), {.processes = 2, .adjust = in_a_row});
  EXPECT_EQ(a.summary.end, RunEnd::kDiverged);
  EXPECT_EQ(a.summary.steps, 8);
  EXPECT_EQ(a.summary.reason, b.summary.reason);
  EXPECT_EQ(a.digests, b.digests);
  EXPECT_EQ(Texts(a.records), Texts(b.records));
}

// Asked in its `launch`-th look, of the process that is the last.
Adjust Ask(int processes, int launch, ControlRequests requests, std::atomic<int>& asked) {
  return [=, &asked](int process, TrainerOptions& options) {
    Poison(Never)(process, options);
    if (process != processes - 1) return;
    options.control_requests = [&asked, launch, requests] {
      return asked++ == launch ? requests : ControlRequests();
    };
  };
}

// At any step: also where nothing is launched behind it.
TEST(Trainer, StopsBehindTheStepThatCarriedTheRequestAndGoesOnFromThere) {
  const Ended whole = Train(7, true, 1, Poison(Never));
  for (const int processes : {1, 3}) {
    for (int at = 0; at < 7; ++at) {
      SCOPED_TRACE(std::to_string(processes) + " processes, step " + std::to_string(at));
      TempFolder out;
      std::atomic<int> asked = 0;
      const InProcessRunResult part =
          RunInProcess(Spec(7, false), {.processes = processes,
                                        .out = out.path(),
                                        .adjust = Ask(processes, at, {.stop = true}, asked)});
      EXPECT_EQ(part.summary.end, at == 6 ? RunEnd::kFinished : RunEnd::kStopped);
      EXPECT_EQ(part.summary.steps, at + 1);
      EXPECT_EQ(CheckpointStore({.out = out.path()}).Latest()->manifest.counters.step, at + 1);
      if (at == 6) continue;
      const InProcessRunResult rest = RunInProcess(
          Spec(7, false),
          {.processes = 2, .out = out.path(), .resume = true, .adjust = Poison(Never)});
      EXPECT_EQ(rest.digests[0], whole.run.digests[0]);
      std::vector<MetricRecord> records = part.records;
      records.insert(records.end(), rest.records.begin(), rest.records.end());
      EXPECT_EQ(Texts(records), Texts(whole.run.records));
    }
  }
}

TEST(Trainer, WritesTheCheckpointOfTheStepThatCarriedTheRequest) {
  for (int at = 0; at < 7; ++at) {
    SCOPED_TRACE(at);
    std::atomic<int> asked_ahead = 0, asked = 0;
    const Ended ahead = Train(7, false, 2, Ask(2, at, {.checkpoint = true}, asked_ahead));
    const Ended waiting = Train(7, true, 2, Ask(2, at, {.checkpoint = true}, asked));
    ExpectEqual(ahead, waiting);
    EXPECT_EQ(asked_ahead, 7) << "requests of a step that is launched again are its own";
    EXPECT_EQ(asked, 7);
  }
}

// The step that was taken back is asked for something, too.
TEST(Trainer, AnswersARequestOfAStepThatWasTakenBack) {
  std::atomic<int> asked = 0;
  const auto every = [&](int process, TrainerOptions& options) {
    Poison(Never)(process, options);
    if (process == 1) {
      options.control_requests = [&] { return ControlRequests{.checkpoint = ++asked % 3 != 0}; };
    }
  };
  const Ended ahead = Train(7, false, 2, every);
  asked = 0;
  ExpectEqual(ahead, Train(7, true, 2, every));
}

}  // namespace
}  // namespace syncbn::train
