// What a profile says of a run, and that the run does not notice it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "comm/in_process.h"
#include "tests/support/in_process_run.h"
#include "tests/support/small_run.h"
#include "train/profile/layer_table.h"
#include "train/profile/trace_file.h"

namespace syncbn::train {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kReplicas = 4, kProcesses = 2;
constexpr int64_t kSteps = 8;

v1::RunSpec Small() {
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(kReplicas, 8, "global", "probes: {landscape: 2}\n"));
  spec.mutable_train()->set_max_steps(kSteps);
  return spec;
}

struct ProfiledRun {
  InProcessRunResult result;
  std::vector<Recording> recordings;  // by process
};

ProfiledRun RunProfiled(const v1::RunSpec& spec, Recorder::Steps steps) {
  std::vector<std::unique_ptr<Recorder>> recorders;
  InProcessRunOptions options{.processes = kProcesses};
  for (int process = 0; process < kProcesses; ++process) {
    const int each = kReplicas / kProcesses;
    recorders.push_back(
        std::make_unique<Recorder>(comm::Group{process * each, (process + 1) * each}, steps));
    options.recorders.push_back(recorders.back().get());
  }
  ProfiledRun run{.result = RunInProcess(spec, options), .recordings = {}};
  for (const auto& recorder : recorders) run.recordings.push_back(recorder->Take());
  return run;
}

std::vector<Span> Of(const Recording& recording, Span::Kind kind) {
  std::vector<Span> spans;
  std::ranges::copy_if(recording.spans, std::back_inserter(spans),
                       [&](const Span& span) { return span.kind == kind; });
  return spans;
}

TEST(Profile, ARunHasTheSameBitsWithIt) {
  const v1::RunSpec spec = Small();
  const auto alone = RunInProcess(spec, {.processes = kProcesses}).StepDigests();
  ASSERT_EQ(alone.size(), static_cast<size_t>(kSteps));
  EXPECT_EQ(RunProfiled(spec, {.after = 2, .count = 4}).result.StepDigests(), alone);
}

// The passes of the probe, in every second step, are not among them.
TEST(Profile, HasEveryLayerOfEveryReplicaInEveryStep) {
  const ProfiledRun run = RunProfiled(Small(), {.after = 0, .count = kSteps});
  using Pass = std::map<std::pair<std::string, std::string>, int>;  // layer, phase: how often
  std::map<std::pair<int, int64_t>, Pass> passes;                   // replica, step
  for (const Recording& recording : run.recordings) {
    EXPECT_EQ(recording.steps, kSteps);
    for (const Span& span : Of(recording, Span::Kind::kLayer)) {
      ++passes[{span.replica, span.step}][{span.name, span.phase}];
    }
  }
  // ReLU and the sum of the residual block are fused into the norms before them; what the block
  // computes itself is the sum of two gradients. The block's last norm waits for its statistics
  // while the shortcut is computed. A weight's gradient is computed within the norm before it,
  // whose sums are under way: that of the last layer within the block's last norm, those of the
  // shortcut and of the body's second convolution within the body's first norm.
  const Pass expected = {{{"", "forward"}, 1},
                         {{"", "loss"}, 1},
                         {{"", "gradients"}, 1},
                         {{"0", "forward"}, 1},
                         {{"0", "backward"}, 2},
                         {{"1", "forward"}, 1},
                         {{"1", "backward"}, 2},
                         {{"3", "backward"}, 1},
                         {{"3.body.0", "forward"}, 1},
                         {{"3.body.0", "backward"}, 2},
                         {{"3.body.1", "forward"}, 1},
                         {{"3.body.1", "backward"}, 3},
                         {{"3.body.3", "forward"}, 1},
                         {{"3.body.3", "backward"}, 2},
                         {{"3.body.4", "forward"}, 2},
                         {{"3.body.4", "backward"}, 2},
                         {{"3.shortcut.0", "forward"}, 1},
                         {{"3.shortcut.0", "backward"}, 2},
                         {{"3.shortcut.1", "forward"}, 1},
                         {{"3.shortcut.1", "backward"}, 1},
                         {{"5", "forward"}, 1},
                         {{"5", "backward"}, 1},
                         {{"6", "forward"}, 1},
                         {{"6", "backward"}, 1},
                         {{"7", "forward"}, 1},
                         {{"7", "backward"}, 2}};
  EXPECT_EQ(passes.size(), static_cast<size_t>(kReplicas * kSteps));
  for (const auto& [key, pass] : passes) {
    ASSERT_EQ(pass, expected) << "replica " << key.first << ", step " << key.second;
  }
}

TEST(Profile, ReplicasDoOneThingAtATimeAndWaitWithinIt) {
  const ProfiledRun run = RunProfiled(Small(), {.after = 1, .count = 3});
  for (const Recording& recording : run.recordings) {
    std::map<int, std::vector<Span>> layers, waits;
    for (const Span& span : Of(recording, Span::Kind::kLayer)) layers[span.replica].push_back(span);
    for (const Span& span : Of(recording, Span::Kind::kWait)) waits[span.replica].push_back(span);
    ASSERT_EQ(layers.size(), static_cast<size_t>(kReplicas / kProcesses));
    for (auto& [replica, spans] : layers) {
      std::ranges::sort(spans, {}, &Span::begin);
      for (size_t i = 0; i < spans.size(); ++i) {
        const Span& span = spans[i];
        EXPECT_LE(span.begin, span.end);
        EXPECT_GE(span.computing, 0ns) << span.name;
        EXPECT_LE(span.computing, span.end - span.begin + 1ms) << span.name;
        if (i > 0) {
          EXPECT_LE(spans[i - 1].end, span.begin) << span.name;
        }
      }
      for (const Span& wait : waits[replica]) {
        if (wait.layer.empty()) continue;
        EXPECT_TRUE(std::ranges::any_of(spans, [&](const Span& span) {
          return span.name == wait.layer && span.phase == wait.phase && span.begin <= wait.begin &&
                 wait.end <= span.end;
        })) << wait.name;
        // The reduction of a norm is named by it.
        EXPECT_TRUE(wait.name.starts_with(wait.layer)) << wait.name << " in " << wait.layer;
      }
    }
  }
}

TEST(Profile, CountsTheMessagesAndBytesOfTheRun) {
  const v1::RunSpec spec = [] {
    v1::RunSpec spec = RunSpecFromYaml(SmallRun(kReplicas, 8, "global"));
    spec.mutable_train()->set_max_steps(kSteps);
    return spec;
  }();
  const ProfiledRun run = RunProfiled(spec, {.after = 0, .count = kSteps});
  int64_t messages = 0, bytes = 0;
  for (const Span& span : Of(run.recordings[0], Span::Kind::kPassage)) {
    messages += span.messages;
    bytes += span.bytes;
    EXPECT_LT(span.begin, span.end) << span.name;
  }
  const Traffic& traffic = run.result.summary.traffic;
  EXPECT_GT(messages, 0);
  EXPECT_EQ(messages, traffic.messages);
  EXPECT_EQ(bytes, traffic.bytes);
}

TEST(Profile, IsOfTheStepsThatWereAskedFor) {
  const ProfiledRun run = RunProfiled(Small(), {.after = 3, .count = 2});
  std::set<int64_t> steps;
  for (const Recording& recording : run.recordings) {
    EXPECT_EQ(recording.steps, 2);
    for (const Span& span : recording.spans) steps.insert(span.step);
  }
  EXPECT_THAT(steps, ElementsAre(3, 4));
  EXPECT_EQ(RunProfiled(Small(), {.after = 100, .count = 2}).recordings[0].steps, 0);
}

// -- The table
// -------------------------------------------------------------------------------------

constexpr MonotonicTime At(std::chrono::nanoseconds time) {
  return MonotonicTime(time);
}

// Two replicas on two processes, one step: a convolution and a norm, whose second replica is late.
Profile TwoProcesses() {
  Profile profile;
  for (int rank = 0; rank < 2; ++rank) {
    const auto late = rank * 3ms;
    Recording recording{.steps = 1, .wall = 20ms};
    recording.shares.spent = {15ms, 3ms - late, 1ms, 1ms};
    recording.spans = {
        {.kind = Span::Kind::kStep, .step = 7, .begin = At(0ms), .end = At(20ms)},
        {.kind = Span::Kind::kPart,
         .step = 7,
         .name = "update",
         .begin = At(18ms),
         .end = At(20ms)},
        {.kind = Span::Kind::kLayer,
         .replica = rank,
         .step = 7,
         .name = "conv",
         .phase = "forward",
         .begin = At(1ms),
         .end = At(5ms + late),
         .computing = 4ms + late},
        {.kind = Span::Kind::kLayer,
         .replica = rank,
         .step = 7,
         .name = "bn",
         .phase = "forward",
         .begin = At(5ms + late),
         .end = At(10ms),
         .computing = 1ms},
        {.kind = Span::Kind::kWait,
         .replica = rank,
         .step = 7,
         .name = "bn forward",
         .phase = "forward",
         .layer = "bn",
         .begin = At(6ms + late),
         .end = At(9ms)},
        {.kind = Span::Kind::kReduction,
         .replica = rank,
         .step = 7,
         .name = "bn forward",
         .phase = "forward",
         .layer = "bn",
         .begin = At(6ms + late),
         .end = At(9ms)},
        {.kind = Span::Kind::kPassage,
         .step = 7,
         .name = "bn forward",
         .begin = At(6ms + late),
         .end = At(9ms),
         .messages = 1,
         .bytes = 136},
        {.kind = Span::Kind::kLayer,
         .replica = rank,
         .step = 7,
         .name = "conv",
         .phase = "backward",
         .begin = At(10ms),
         .end = At(16ms),
         .computing = 6ms},
        {.kind = Span::Kind::kReduction,
         .replica = rank,
         .step = 7,
         .name = "conv.weight",
         .begin = At(16ms),
         .end = At(17ms)},
        {.kind = Span::Kind::kWait,
         .replica = rank,
         .step = 7,
         .name = "conv.weight",
         .begin = At(16ms),
         .end = At(17ms)},
        {.kind = Span::Kind::kPassage,
         .step = 7,
         .name = "conv.weight",
         .begin = At(16ms),
         .end = At(17ms),
         .messages = 2,
         .bytes = 4000},
    };
    profile.processes.push_back(
        {.host = "host-" + std::to_string(rank), .recording = std::move(recording)});
  }
  return profile;
}

TEST(LayerTable, SaysWhatEachLayerComputesWaitsForAndSends) {
  const LayerTable table = MakeLayerTable(TwoProcesses(), {"bn"});
  EXPECT_EQ(table.steps, 1);
  EXPECT_EQ(table.first_step, 7);
  EXPECT_EQ(table.replicas, 2);
  EXPECT_EQ(table.processes, 2);
  EXPECT_DOUBLE_EQ(table.wall, 20);
  EXPECT_DOUBLE_EQ(table.compute, 15);
  EXPECT_DOUBLE_EQ(table.statistics, 1.5);
  EXPECT_EQ(LayerCsv(table),
            "layer,norm,forward_ms,backward_ms,wait_ms,skew_ms,messages_per_step,bytes_per_step\n"
            "conv,0,5.5,6,0,0,0,0\n"
            "bn,1,1,0,1.5,3,2,272\n"
            "update,0,2,0,0,0,0,0\n"
            "gradients,0,0,0,1,0,4,8000\n");
  EXPECT_DOUBLE_EQ(table.Total().computing(), 14.5);
  EXPECT_DOUBLE_EQ(table.Norms().wait, 1.5);
  EXPECT_DOUBLE_EQ(table.Norms().bytes, 272);
}

TEST(LayerTable, ADifferenceIsOfTheSameOccurrenceOfAReduction) {
  Profile profile = TwoProcesses();
  // A recurrent layer reduces under one name in every time step.
  for (int rank = 0; rank < 2; ++rank) {
    for (const auto begin : {11ms, 13ms}) {
      profile.processes[static_cast<size_t>(rank)].recording.spans.push_back(
          {.kind = Span::Kind::kReduction,
           .replica = rank,
           .step = 7,
           .name = "rnn forward",
           .phase = "forward",
           .layer = "rnn",
           .begin = At(begin + rank * 1ms),
           .end = At(15ms)});
    }
  }
  const LayerTable table = MakeLayerTable(profile, {});
  const auto row = std::ranges::find(table.rows, "rnn", &LayerRow::layer);
  ASSERT_NE(row, table.rows.end());
  EXPECT_DOUBLE_EQ(row->skew, 2);
}

// -- Between processes
// -----------------------------------------------------------------------------

TEST(RecordingText, ComesBackAsItWas) {
  const Recording recording = TwoProcesses().processes[1].recording;
  const Recording back = RecordingOf(RecordingText(recording));
  EXPECT_EQ(back.spans, recording.spans);
  EXPECT_EQ(back.steps, recording.steps);
  EXPECT_EQ(back.wall, recording.wall);
  EXPECT_EQ(back.shares.spent, recording.shares.spent);
}

TEST(RecordingText, DamagedIsDataLoss) {
  const std::string text = RecordingText(TwoProcesses().processes[0].recording);
  for (const std::string& damaged :
       {text.substr(0, text.size() / 2), std::string("x") + text, text + "9\t0\n", std::string()}) {
    try {
      RecordingOf(damaged);
      ADD_FAILURE() << damaged;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kDataLoss);
      EXPECT_THAT(error.message(), HasSubstr("a recording"));
    }
  }
}

// A host whose clock is another than the system's by so much.
class OtherClock : public Clock {
 public:
  OtherClock(std::string boot, std::chrono::nanoseconds ahead)
      : boot_(std::move(boot)), ahead_(ahead) {}
  WallTime Now() const override { return Clock::System().Now(); }
  MonotonicTime Monotonic() const override { return Clock::System().Monotonic() + ahead_; }
  std::string Boot() const override { return boot_; }

 private:
  const std::string boot_;
  const std::chrono::nanoseconds ahead_;
};

TEST(GatherProfile, TimesOfAnotherHostAreMovedToTheRootsClock) {
  const auto communicators = comm::MakeInProcessCommunicators(3);
  const OtherClock clocks[] = {{"a", 0s}, {"a", 0s}, {"b", 1000s}};
  Profile profile;
  OnProcesses(3, [&](int process) {
    const auto p = static_cast<size_t>(process);
    const MonotonicTime now = Clock::System().Monotonic();
    Recording recording{.spans = {{.begin = now + (process == 2 ? 1000s : 0s),
                                   .end = now + (process == 2 ? 1001s : 1s)}},
                        .steps = 1};
    Profile gathered = GatherProfile(*communicators[p], "host", std::move(recording), clocks[p]);
    if (process == 0) {
      profile = std::move(gathered);
    } else {
      EXPECT_TRUE(gathered.processes.empty());
    }
  });
  ASSERT_EQ(profile.processes.size(), 3u);
  const MonotonicTime root = profile.processes[0].recording.spans[0].begin;
  for (const Profile::Process& process : profile.processes) {
    const Span& span = process.recording.spans[0];
    // To what threads of a loaded machine differ by in leaving a barrier.
    EXPECT_LT(std::chrono::abs(span.begin - root), 10s);
    EXPECT_EQ(span.end - span.begin, 1s);
  }
}

// -- The trace
// -------------------------------------------------------------------------------------

TEST(TraceJson, HasTracksInWhichNothingOverlapsByHalf) {
  Profile profile = TwoProcesses();
  // Two messages at once, and a name that is no JSON.
  std::vector<Span>& spans = profile.processes[0].recording.spans;
  spans.push_back({.kind = Span::Kind::kPassage,
                   .step = 7,
                   .name = "a \"name\" \\ \x80",
                   .begin = At(7ms),
                   .end = At(12ms),
                   .messages = 1,
                   .bytes = 1});
  const auto trace = nlohmann::json::parse(TraceJson(profile));
  std::map<std::pair<int, int>, std::vector<std::pair<double, double>>> tracks;
  std::map<std::pair<int, int>, std::string> names;
  int events = 0;
  for (const auto& event : trace.at("traceEvents")) {
    const std::pair track{event.at("pid").get<int>(), event.value("tid", -1)};
    if (event.at("ph") == "X") {
      ++events;
      const double begin = event.at("ts"), length = event.at("dur");
      EXPECT_GE(begin, 0);
      EXPECT_EQ(event.at("args").at("step"), 7);
      tracks[track].emplace_back(begin, begin + length);
    } else if (event.at("name") == "thread_name" || event.at("name") == "process_name") {
      names[track] = event.at("args").at("name");
    }
  }
  // All but the two reductions of each process, which are seen in waits and passages.
  EXPECT_EQ(events, 2 * (11 - 2) + 1);
  EXPECT_EQ((names[{1, -1}]), "rank 1 on host-1");
  EXPECT_EQ((names[{1, 2}]), "replica 1");
  for (auto& [track, spans_of] : tracks) {
    EXPECT_TRUE(names.contains(track)) << track.first << " " << track.second;
    for (const auto& a : spans_of) {
      for (const auto& b : spans_of) {
        EXPECT_FALSE(a.first < b.first && b.first < a.second && a.second < b.second)
            << "track " << track.second << " of process " << track.first;
      }
    }
  }
}

TEST(TraceJson, OfARealRunNestsToo) {
  ProfiledRun run = RunProfiled(Small(), {.after = 2, .count = 2});
  Profile profile;
  for (Recording& recording : run.recordings) {
    profile.processes.push_back({.host = "here", .recording = std::move(recording)});
  }
  const auto trace = nlohmann::json::parse(TraceJson(profile));
  std::map<std::pair<int, int>, std::vector<std::pair<double, double>>> tracks;
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") != "X") continue;
    tracks[{event.at("pid"), event.at("tid")}].emplace_back(event.at("ts"), event.at("dur"));
  }
  // Steps, two replicas and messages of two processes.
  EXPECT_GE(tracks.size(), 8u);
  for (auto& [track, spans] : tracks) {
    // The outer ones first.
    std::ranges::sort(spans, [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first < b.first : a.second > b.second;
    });
    std::vector<double> open;
    for (const auto& [begin, length] : spans) {
      while (!open.empty() && open.back() <= begin) open.pop_back();
      // In microseconds, of which doubles hold thousandths.
      if (!open.empty()) {
        EXPECT_LE(begin + length, open.back() + 0.01);
      }
      open.push_back(begin + length);
    }
  }
}

}  // namespace
}  // namespace syncbn::train
