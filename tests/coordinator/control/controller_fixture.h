// A controller over a real store and a launcher that starts nothing: attempts live and end as the
// test says. The launcher and the store outlive controllers, as processes and files do.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>
#include <thread>

#include "coordinator/control/controller.h"
#include "tests/coordinator/store/store_fixture.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {

inline void WaitUntil(const std::string& what, const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!holds()) {
    ASSERT_TRUE(std::chrono::steady_clock::now() < end) << "waited in vain until " << what;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

class FakeLauncher : public Launcher {
 public:
  struct Kept {
    LaunchRequest request;
    std::optional<v1::ExitRecord> exit;
    std::vector<StopLevel> stops;
    int forced = 0;
  };

  std::string Name() const override { return "fake"; }

  void Start(const LaunchRequest& request) override {
    if (on_start) on_start(request);
    std::lock_guard lock(mutex_);
    const std::string name = NameOf(request.attempt);
    // A real supervisor finds the exit record of the attempt that was closed.
    if (kept_.contains(name)) throw Error(ErrorCode::kUnavailable, "the attempt is over already");
    kept_[name].request = request;
    ++starts_[name];
  }
  Observation Observe(const AttemptRef& attempt) override {
    if (on_observe) on_observe(attempt);
    std::lock_guard lock(mutex_);
    if (!kept_.contains(NameOf(attempt))) {
      v1::ExitRecord record;
      record.set_cause(v1::ExitRecord::NEVER_RAN);
      kept_[NameOf(attempt)].exit = record;
    }
    const Kept& kept = kept_.at(NameOf(attempt));
    std::optional<WallTime> begin;
    if (began != 0) begin = WallTime(std::chrono::microseconds(began));
    if (silent)
      return {.kind = Observation::Kind::kUnknown, .detail = "does not answer", .begin = begin};
    if (!kept.exit && waiting)
      return {.kind = Observation::Kind::kWaiting, .detail = "PENDING", .begin = begin};
    if (!kept.exit) {
      return {.kind = Observation::Kind::kAlive,
              .detail = awaited ? "its exit record is waited for" : "",
              .written = written,
              .begin = begin,
              .trouble = lost ? "the node n1 does not answer" : "",
              .record_awaited = awaited};
    }
    return {.kind = Observation::Kind::kEnded, .exit = kept.exit};
  }
  std::optional<RankActivity> LookAtRanks(const AttemptRef&) override {
    std::lock_guard lock(mutex_);
    ++looks_;
    return activity;
  }
  int Looks() const {
    std::lock_guard lock(mutex_);
    return looks_;
  }
  void Stop(const AttemptRef& attempt, StopLevel level, const std::string&) override {
    std::lock_guard lock(mutex_);
    const auto found = kept_.find(NameOf(attempt));
    if (found == kept_.end()) throw Error(ErrorCode::kNotFound, "no folder to leave word in");
    found->second.stops.push_back(level);
    if (obedient && !found->second.exit) found->second.exit = Stopped();
  }
  Observation Force(const AttemptRef& attempt) override {
    std::lock_guard lock(mutex_);
    Kept& kept = kept_[NameOf(attempt)];
    ++kept.forced;
    if (unreachable) return {.kind = Observation::Kind::kUnknown, .detail = "unreachable"};
    if (!kept.exit) kept.exit = Stopped();
    return {.kind = Observation::Kind::kEnded, .exit = kept.exit};
  }

  static v1::ExitRecord Ended(int exit_code, const std::string& launcher_text = "") {
    v1::ExitRecord record;
    record.set_cause(v1::ExitRecord::ENDED);
    record.set_exit_code(exit_code);
    record.set_launcher_text(launcher_text);
    return record;
  }
  // Its launcher was killed: nobody's fault but the machinery's.
  static v1::ExitRecord Killed() {
    v1::ExitRecord record;
    record.set_cause(v1::ExitRecord::ENDED);
    record.set_signal(9);
    return record;
  }
  static v1::ExitRecord Stopped() {
    v1::ExitRecord record;
    record.set_cause(v1::ExitRecord::STOPPED);
    record.set_rung("ask");
    return record;
  }

  void End(AttemptId id, const v1::ExitRecord& record) {
    std::lock_guard lock(mutex_);
    Kept& kept = kept_.at(AttemptName(id.job, id.attempt));
    if (!kept.exit) kept.exit = record;
  }
  bool IsAlive(AttemptId id) const {
    std::lock_guard lock(mutex_);
    const auto found = kept_.find(AttemptName(id.job, id.attempt));
    return found != kept_.end() && !found->second.exit;
  }
  Kept Get(AttemptId id) const {
    std::lock_guard lock(mutex_);
    return kept_.at(AttemptName(id.job, id.attempt));
  }
  int Starts(AttemptId id) const {
    std::lock_guard lock(mutex_);
    const auto found = starts_.find(AttemptName(id.job, id.attempt));
    return found == starts_.end() ? 0 : found->second;
  }
  int AllAlive() const {
    std::lock_guard lock(mutex_);
    int alive = 0;
    for (const auto& [name, kept] : kept_) alive += kept.exit ? 0 : 1;
    return alive;
  }

  // Set before they are needed, not while calls are under way.
  std::function<void(const LaunchRequest&)> on_start;
  std::function<void(const AttemptRef&)> on_observe;
  std::atomic<bool> obedient = true;      // attempts end when they are told to
  std::atomic<bool> unreachable = false;  // force fails
  std::atomic<bool> silent = false;       // nobody can say what has become of it
  std::atomic<bool> waiting = false;      // a batch system has what lives in its queue
  std::atomic<bool> lost = false;         // its node does not answer
  std::atomic<bool> awaited = false;  // a batch system has ended it, and its record is not seen yet
  std::atomic<int64_t> began = 0;  // when the first of it ran, by the calendar; 0: nobody says
  std::atomic<int64_t> written = 1;       // by what lives
  std::optional<RankActivity> activity;

 private:
  static std::string NameOf(const AttemptRef& attempt) {
    return AttemptName(attempt.id.job, attempt.id.attempt);
  }

  mutable std::mutex mutex_;
  std::map<std::string, Kept> kept_;
  std::map<std::string, int> starts_;
  int looks_ = 0;
};

class ControllerTest : public ::testing::Test {
 protected:
  ControllerTest() : store({.folder = folder.path() / "data", .synced = false}) {
    options.store = &store;
    options.launcher = &launcher;
    options.clock = &clock;
    options.hosts = {{.name = "node1", .slots = 4}};
    options.output_root = folder.path() / "output";
    options.tick = options.observe_every = options.store_progress_every =
        std::chrono::milliseconds(0);
    options.tick = std::chrono::milliseconds(1);
    // The clock makes leaps in tests.
    options.longest_tick = std::chrono::hours(24 * 365);
    options.worker_address = [] { return std::string("here:7700"); };
    options.make_launch = [this](const JobRecord&, const RunFileText&,
                                 const LaunchContext& context) {
      std::lock_guard lock(mutex);
      tokens[AttemptName(context.attempt.id.job, context.attempt.id.attempt)] = context.token;
      return LaunchRequest{.attempt = context.attempt,
                           .marker = context.marker,
                           .request = context.request,
                           .placement = context.placement};
    };
    options.log = [this](const std::string& line) {
      std::lock_guard lock(mutex);
      lines.push_back(line);
    };
  }

  Controller& controller() {
    if (!controller_) {
      controller_ = std::make_unique<Controller>(options);
      controller_->Start();
    }
    return *controller_;
  }
  // The coordinator ends; the next use of controller() is its successor.
  void End() { controller_.reset(); }

  int64_t Submit(v1::Job spec = TestSpec()) {
    const v1::Job job = controller().Submit(spec, {"seed: 1\n", "seed: 1\n"}, By("anna"));
    return ParseJobName(job.name());
  }
  static RequestInfo By(const std::string& actor, const std::string& id = "",
                        const std::string& digest = "", const std::string& method = "Method") {
    return {.key = {.actor = actor, .id = id, .method = method, .digest = digest}};
  }
  JobRecord Get(int64_t job) {
    return store.Read([&](Tables& tables) { return tables.jobs.Get(job); });
  }
  JobState StateOf(int64_t job) { return Get(job).status.state; }
  v1::Job View(int64_t job) { return controller().View(Get(job)); }
  v1::Attempt AttemptOf(int64_t job, int attempt) {
    return store.Read([&](Tables& tables) { return tables.attempts.Get({job, attempt}); });
  }
  v1::Job Act(int64_t job, EventKind verb, const std::string& actor = "anna") {
    return controller().Act(job, {.verb = verb}, By(actor));
  }
  void WaitForState(int64_t job, JobState state) {
    WaitUntil(JobName(job) + " is " + std::string(JobStateName(state)) + ", but it is " +
                  std::string(JobStateName(StateOf(job))),
              [&] { return StateOf(job) == state; });
  }
  void WaitForAttempt(int64_t job, int attempt) {
    WaitUntil(AttemptName(job, attempt) + " lives", [&] {
      return launcher.IsAlive({job, attempt});
    });
  }
  void Register(AttemptId id, int processes = 1) {
    for (int rank = 0; rank < processes; ++rank) {
      controller().Register(id, rank, {.processes = processes, .host = "node1", .pid = 100 + rank});
    }
  }
  int64_t SubmitRunning(const v1::Job& spec = TestSpec()) {
    const int64_t job = Submit(spec);
    WaitForAttempt(job, 1);
    Register({job, 1}, std::max(1, spec.resources().processes()));
    EXPECT_EQ(StateOf(job), JobState::kRunning);
    return job;
  }
  // How often the job has entered a state that is an end.
  int Ends(int64_t job) {
    int ends = 0;
    for (const v1::Transition& one :
         store.Read([&](Tables& tables) { return tables.jobs.History(job, 0, 1000); })) {
      ends += IsEnded(static_cast<JobState>(one.to_state())) ? 1 : 0;
    }
    return ends;
  }
  std::vector<std::string> Events(int64_t job) {
    std::vector<std::string> events;
    for (const v1::Transition& one :
         store.Read([&](Tables& tables) { return tables.jobs.History(job, 0, 1000); })) {
      events.push_back(one.event());
    }
    return events;
  }
  std::string Token(AttemptId id) {
    std::lock_guard lock(mutex);
    return tokens.at(AttemptName(id.job, id.attempt));
  }

  std::mutex mutex;
  std::map<std::string, std::string> tokens;
  std::vector<std::string> lines;
  TempFolder folder;
  ManualClock clock{kTestNow};
  Store store;
  FakeLauncher launcher;
  Controller::Options options;
  std::unique_ptr<Controller> controller_;
};

}  // namespace syncbn::coordinator
