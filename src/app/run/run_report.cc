#include "app/run/run_report.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "app/exit_code.h"
#include "app/run/metric_points.h"
#include "app/terminal.h"
#include "app/versions.h"
#include "base/clock.h"
#include "base/host.h"
#include "base/storage_error.h"
#include "base/utf8.h"
#include "comm/stall.h"
#include "train/checkpoint_store.h"

namespace syncbn::app {
namespace {

// What the coordinator takes of an error's text, and more than anybody reads.
constexpr size_t kMostMessage = 16 * 1024, kMostFrame = 1024;
constexpr int kMostFrames = 32;

// Milliseconds of processor time, of all threads: the sign of life of a process that loads.
int64_t ProcessorTime() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

// Leaves without a checkpoint and without waiting for anybody; mpirun ends the others.
[[noreturn]] void LeaveNow(const std::string& reason) {
  Say(stderr, "syncbn: leaving at once: %s\n", reason.c_str());
  std::fflush(stderr);
  std::_Exit(kGivenUp);
}

std::optional<report::ReportSettings> SettingsOf(const RunReport::Options& options) {
  if (!options.coordinator.empty()) {
    if (std::getenv("SYNCBN_ATTEMPT") == nullptr) {
      throw Error(ErrorCode::kInvalidArgument,
                  "--coordinator: this run is not a job of a coordinator; submit it with 'syncbn "
                  "submit RUN.yaml', or leave the option out to train without one");
    }
    ::setenv("SYNCBN_COORDINATOR", options.coordinator.c_str(), 1);
  }
  std::optional<report::ReportSettings> settings = report::SettingsFromEnvironment();
  if (!settings) return std::nullopt;
  settings->rank = options.rank;
  settings->processes = options.processes;
  settings->host = HostName();
  settings->version = ProgramVersion();
  return settings;
}

}  // namespace

void DieWithLauncher() {
  if (std::getenv("SYNCBN_ATTEMPT") == nullptr) return;
  const pid_t launcher = ::getppid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // It may have died in between.
  if (::getppid() != launcher) std::raise(SIGKILL);
}

RunReport::RunReport(const Options& options) : options_(options) {
  std::optional<report::ReportSettings> settings = SettingsOf(options);
  if (!settings) return;
  const int rank = options.rank;
  reporter_ = std::make_unique<report::Reporter>(report::Reporter::Options{
      .settings = *std::move(settings),
      .status = [this] { return Status(); },
      .on_order =
          [this](report::Order order, const std::string& reason) {
            if (order == report::Order::kLeave) LeaveNow(reason);
            stop_wanted_ = true;
          },
      .on_warning =
          [rank](const std::string& warning) {
            Say(stderr, "syncbn: warning: rank %d: %s\n", rank, warning.c_str());
          }});
}

RunReport::~RunReport() = default;

std::optional<int> RunReport::attempt() const {
  if (!active()) return std::nullopt;
  return report::AttemptNumber(reporter_->settings().attempt);
}

void RunReport::SetPhase(Activity phase, int64_t steps, double epoch) {
  std::lock_guard lock(mutex_);
  if (phase_ == Activity::kLoad) load_progress_ = ProcessorTime();
  phase_ = phase;
  steps_ = steps;
  epoch_ = epoch;
  ++phases_;
}

void RunReport::SetBoard(comm::ProgressBoard* board) {
  std::lock_guard lock(mutex_);
  if (board_ != nullptr) last_ = board_->ReadActivity();
  board_ = board;
}

void RunReport::SetPlan(int64_t total_steps, int64_t first_step) {
  if (active()) reporter_->SetPlan(total_steps, first_step);
}

void RunReport::SetCheckpoint(int64_t step) {
  std::lock_guard lock(mutex_);
  checkpoint_ = step;
}

report::RankStatus RunReport::Status() {
  std::lock_guard lock(mutex_);
  if (phase_ == Activity::kLoad) load_progress_ = ProcessorTime();
  if (board_ != nullptr) last_ = board_->ReadActivity();
  return {.phase = std::string(NameOf(phase_)),
          .step = steps_,
          .epoch = epoch_,
          .reduction = last_.reductions,
          .reduction_name = last_.where + (last_.phase.empty() ? "" : " " + last_.phase),
          .progress = load_progress_ + phases_ + last_.progress,
          .checkpoint_step = checkpoint_};
}

void RunReport::Write(const train::MetricRecord& record, const std::string& evaluation) {
  if (!active()) return;
  reporter_->Add(
      PointsOf(record, evaluation, Clock::System().Now().time_since_epoch().count()));
}

void RunReport::Flush() {
  if (!active() || reporter_->Flush(std::chrono::seconds(5)) || unsafe_said_) return;
  unsafe_said_ = true;
  Say(stderr,
      "syncbn: warning: metric points are not safely on disk at a checkpoint; should this "
      "process die now, a part of them is lost\n");
}

void RunReport::SetNote(const std::string& note) {
  std::lock_guard lock(mutex_);
  note_ = note;
}

void RunReport::Finish(const train::Summary& summary) {
  if (!active()) return;
  v1::RankExit exit;
  switch (summary.end) {
    case train::RunEnd::kFinished:
      exit.set_outcome(v1::ATTEMPT_OUTCOME_COMPLETED);
      break;
    case train::RunEnd::kStopped:
      exit.set_outcome(v1::ATTEMPT_OUTCOME_STOPPED);
      break;
    case train::RunEnd::kDiverged:
      exit.set_outcome(v1::ATTEMPT_OUTCOME_FAILED);
      exit.set_class_(v1::Failure::DIVERGED);
      break;
    case train::RunEnd::kStorage:
      exit.set_outcome(v1::ATTEMPT_OUTCOME_FAILED);
      exit.set_class_(v1::Failure::STORAGE);
      break;
  }
  exit.set_message(summary.reason);
  exit.set_step(summary.steps);
  if (summary.digest) exit.set_digest(summary.digest->Hex());
  Deliver(std::move(exit), options_.delivery_time);
}

void RunReport::Fail(const Error& error) {
  if (!active()) return;
  v1::RankExit exit;
  exit.set_outcome(v1::ATTEMPT_OUTCOME_FAILED);
  exit.set_error_code(std::string(ErrorCodeName(error.code())));
  // What is too long, or no UTF-8, would not be taken: a report of a part is more than none.
  exit.set_message(Utf8Beginning(error.message(), kMostMessage));
  if (dynamic_cast<const StorageError*>(&error) != nullptr) exit.set_class_(v1::Failure::STORAGE);
  for (const std::string& frame : error.frames()) {
    if (exit.frames_size() < kMostFrames) exit.add_frames(Utf8Beginning(frame, kMostFrame));
  }
  exit.set_caused_by_peer(error.code() == ErrorCode::kAborted &&
                          dynamic_cast<const train::AttemptSuperseded*>(&error) == nullptr);
  if (const auto* stall = dynamic_cast<const comm::StallError*>(&error)) {
    const std::vector<int>& ranks = stall->stall().missing_ranks;
    exit.mutable_missing_ranks()->Add(ranks.begin(), ranks.end());
    exit.set_operation(Utf8Beginning(stall->stall().waited_for, kMostFrame));
    exit.set_activity(Utf8Beginning(stall->stall().activity, kMostFrame));
    exit.set_layer(Utf8Beginning(stall->stall().layer, kMostFrame));
  }
  Deliver(std::move(exit), options_.failure_time);
}

void RunReport::Deliver(v1::RankExit exit, std::chrono::milliseconds time) {
  {
    std::lock_guard lock(mutex_);
    if (exit.step() == 0) exit.set_step(steps_);
    exit.set_epoch(epoch_);
    exit.set_note(note_);
    if (checkpoint_) exit.set_checkpoint_step(*checkpoint_);
  }
  const report::Delivery delivery = reporter_->Finish(std::move(exit), time);
  if (delivery.exit_delivered && delivery.lost_points == 0) return;
  // All ranks are in the same position: one says it, unless something is lost.
  if (options_.rank > 0 && delivery.exit_spooled && delivery.lost_points == 0) return;
  const std::string lost = delivery.lost_points == 0
                               ? ""
                               : "; " + std::to_string(delivery.lost_points) +
                                     " metric points could not be kept and are lost";
  const report::ReportSettings& settings = reporter_->settings();
  if (delivery.exit_delivered) {
    Say(stderr, "syncbn: warning: rank %d%s\n", options_.rank, lost.c_str());
  } else if (delivery.exit_spooled) {
    Say(stderr,
        "syncbn: warning: rank %d could not tell the coordinator at %s how it ended; its "
        "report and %lld metric points stay in %s%s\n",
        options_.rank, settings.coordinator.c_str(), static_cast<long long>(delivery.points_left),
        settings.spool.c_str(), lost.c_str());
  } else {
    Say(stderr,
        "syncbn: warning: rank %d could not tell the coordinator at %s how it ended, and "
        "its spool cannot be written: its report and %lld metric points are lost%s\n",
        options_.rank, settings.coordinator.c_str(), static_cast<long long>(delivery.points_left),
        lost.c_str());
  }
}

}  // namespace syncbn::app
