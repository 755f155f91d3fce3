#include "forecast/measure.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/host.h"
#include "comm/in_process.h"
#include "comm/make_reducer.h"
#include "forecast/norm_batch.h"
#include "forecast/recording_reducer.h"
#include "train/engine.h"
#include "train/prepared_run.h"
#include "train/trainer.h"

namespace syncbn::forecast {
namespace {

constexpr size_t kWarmUp = 2;
constexpr int kMostSteps = 200;

using SteadyClock = std::chrono::steady_clock;

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

// While it lives, this thread and those that it starts have one core: the one it is on.
class OneCore {
 public:
  OneCore() {
    CPU_ZERO(&before_);
    held_ = ::sched_getaffinity(0, sizeof before_, &before_) == 0;
    const int core = ::sched_getcpu();
    if (!held_ || core < 0) return;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    // Where it is not permitted the scheduler decides, as it does for a process of a run.
    held_ = ::sched_setaffinity(0, sizeof one, &one) == 0;
  }
  ~OneCore() {
    if (held_) ::sched_setaffinity(0, sizeof before_, &before_);
  }
  OneCore(const OneCore&) = delete;
  OneCore& operator=(const OneCore&) = delete;

 private:
  cpu_set_t before_;
  bool held_ = false;
};

// Replica 0 of two, at a batch; statistics of both.
v1::RunSpec SpecOf(const v1::RunSpec& run, int64_t batch) {
  v1::RunSpec spec = run;
  spec.mutable_cluster()->set_replicas(2);
  spec.mutable_cluster()->clear_batch_per_replica();
  spec.mutable_cluster()->add_batch_per_replica(static_cast<int>(batch));
  SetNormBatch(*spec.mutable_model(), GlobalNormBatch(), Norms::kAll);
  spec.mutable_train()->set_max_steps(0);
  spec.mutable_train()->set_epochs(1e6);
  // Values stay as they are drawn: finite, whatever the sums lack.
  spec.mutable_train()->mutable_learning_rate()->set_base(1e-6);
  // Every step of the same size.
  spec.mutable_data()->set_last_batch(v1::LAST_BATCH_DROP);
  spec.mutable_output()->set_digests(false);
  spec.clear_probes();
  return spec;
}

double Total(const StepProgram& step) {
  return std::accumulate(step.events.begin(), step.events.end(), step.rest,
                         [](double sum, const ProgramEvent& event) { return sum + event.compute; });
}

std::vector<StepProgram> RunSteps(const v1::RunSpec& run, int64_t batch,
                                  const backend::Backend& backend, data::DatasetCache& datasets,
                                  const MeasureOptions& options) {
  const train::PreparedRun prepared(SpecOf(run, batch), datasets);
  if (prepared.train().dataset().size() < 2 * batch) {
    throw Error(ErrorCode::kInvalidArgument, "a batch of " + std::to_string(batch) +
                                                 " samples cannot be measured: two replicas need "
                                                 "twice as many, the training split has " +
                                                 std::to_string(prepared.train().dataset().size()));
  }
  const OneCore one_core;
  RecordingReducer reducer(2, backend);
  train::Engine engine({.first_replica = 0, .replicas = 1}, prepared.model(), backend, reducer);
  std::stop_source stop;
  train::TrainerOptions training;
  train::MemorySink metrics;
  training.metrics = &metrics;
  training.evaluate = false;
  training.stop = stop.get_token();
  SteadyClock::time_point begin;
  int steps = 0;
  const auto least = static_cast<int>(kWarmUp) + 1 + options.least_steps;
  training.control_requests = [&] {
    if (steps == static_cast<int>(kWarmUp)) begin = SteadyClock::now();
    const bool enough = steps >= least && SecondsSince(begin) > options.seconds;
    if (enough || steps >= kMostSteps) stop.request_stop();
    ++steps;
    return train::ControlRequests{};
  };
  train::Trainer trainer(prepared.spec(), engine, prepared.train(), prepared.test(), training);
  trainer.Run();
  return {reducer.steps().begin() + kWarmUp, reducer.steps().end()};
}

// -- Messages
// ------------------------------------------------------------------------------------------

// Seconds of each of `rounds` reductions of `elements` floats between two processes that are
// threads.
std::vector<double> TimeReductions(int64_t elements, int rounds) {
  const auto communicators = comm::MakeInProcessCommunicators(2);
  std::vector<double> seconds;
  const auto body = [&](int rank) {
    const auto reducer =
        comm::MakeReducer(*communicators[static_cast<size_t>(rank)], {.replicas = 2});
    const comm::ReplicaLink link{reducer.get(), rank};
    Tensor result({elements}, DType::kFloat32);
    for (int i = 0; i < rounds; ++i) {
      Tensor part = Tensor::Zeros({elements}, DType::kFloat32);
      const SteadyClock::time_point start = SteadyClock::now();
      link.Reduce({.operation = comm::Operation::kSum,
                   .group = {0, 2},
                   .contribution = std::move(part),
                   .result = result,
                   .name = "measured"});
      if (rank == 0) seconds.push_back(SecondsSince(start));
    }
  };
  std::jthread other(body, 1);
  body(0);
  return seconds;
}

double LowerQuartile(std::vector<double> values) {
  const auto at = values.begin() + static_cast<ptrdiff_t>(values.size() / 4);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

// Takes messages and forgets them.
class Sink : public comm::MessageHandler {
 public:
  comm::ReceiveBuffer OnHead(int, std::span<const std::byte>, size_t) override {
    return {.memory = memory_};
  }
  void OnBody(int, const comm::ReceiveBuffer&) override { ++received; }
  int received = 0;

 private:
  std::byte memory_[1024];
};

double TimeMessage() {
  const auto communicators = comm::MakeInProcessCommunicators(2);
  const std::vector<std::byte> body(1024);
  const std::byte head[64] = {};
  Sink sink;
  std::vector<double> seconds;
  constexpr int kRounds = 40, kMessages = 50;
  for (int round = 0; round < kRounds; ++round) {
    const SteadyClock::time_point start = SteadyClock::now();
    for (int i = 0; i < kMessages; ++i) communicators[0]->Send(1, head, body, nullptr);
    while (sink.received < (round + 1) * kMessages) {
      communicators[1]->Progress(sink, comm::Communicator::IfBusy::kWait);
    }
    seconds.push_back(SecondsSince(start) / kMessages);
  }
  return LowerQuartile(std::move(seconds));
}

}  // namespace

std::vector<int64_t> BatchesToMeasure(int64_t own, std::span<const int64_t> wanted, int64_t most) {
  std::vector<int64_t> all(wanted.begin(), wanted.end());
  all.push_back(own);
  std::ranges::sort(all);
  const int64_t largest = std::max<int64_t>(1, most / 2);
  std::vector<int64_t> chosen = {std::min(all.front(), largest), std::min(own, largest),
                                 std::min(all.back(), largest)};
  // One size says nothing of how time grows.
  if (chosen.front() == chosen.back()) {
    chosen.push_back(chosen.back() > 1 ? (chosen.back() + 1) / 2 : std::min<int64_t>(2, largest));
  }
  std::ranges::sort(chosen);
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  return chosen;
}

MachineProfile MeasureProfile(const v1::RunSpec& run, const backend::Backend& backend,
                              data::DatasetCache& datasets, const MeasureOptions& options) {
  MachineProfile profile{.host = HostName(),
                         .processor = ProcessorName(),
                         .date = FormatTime(Clock::System().Now()).substr(0, 19) + "Z",
                         .costs = MeasureHostCosts()};
  for (const int64_t batch : options.batches) {
    if (options.on_batch) options.on_batch(batch);
    std::vector<StepProgram> steps = RunSteps(run, batch, backend, datasets, options);
    SYNCBN_CHECK(!steps.empty());
    std::ranges::sort(steps, {}, Total);
    steps.resize((steps.size() + 3) / 4);
    const auto count = static_cast<double>(steps.size());
    ProfiledBatch& mean = profile.batches.emplace_back(ProfiledBatch{.batch = batch});
    mean.compute.resize(steps.front().events.size());
    for (const StepProgram& step : steps) {
      SYNCBN_CHECK_EQ(step.events.size(), mean.compute.size()) << "steps of one run";
      for (size_t i = 0; i < step.events.size(); ++i)
        mean.compute[i] += step.events[i].compute / count;
      mean.rest += step.rest / count;
    }
    std::vector<std::string> events;
    for (const ProgramEvent& event : steps.front().events) {
      events.push_back(steps.front().NameOf(event));
    }
    if (profile.events.empty()) profile.events = std::move(events);
  }
  return profile;
}

HostCosts MeasureHostCosts() {
  constexpr int64_t kSmall = 256, kLarge = 1 << 20;
  const double round = LowerQuartile(TimeReductions(kSmall, 400));
  const double large = LowerQuartile(TimeReductions(kLarge, 24));
  return {.seconds_per_round = round,
          .seconds_per_message = TimeMessage(),
          // Two rounds, in which each process sends as many bytes as the message has.
          .seconds_per_byte =
              std::max(0.0, large - 2 * round) / static_cast<double>(kLarge * sizeof(float))};
}

}  // namespace syncbn::forecast
