#include "report/reporter.h"

#include <google/protobuf/util/time_util.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"

namespace syncbn::report {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Between tries while somebody waits for the end.
constexpr milliseconds kLastPause = milliseconds(500);

v1::RankName NameOf(const ReportSettings& settings) {
  v1::RankName name;
  name.set_attempt(settings.attempt);
  name.set_rank(settings.rank);
  return name;
}

milliseconds IntervalOf(const google::protobuf::Duration& duration, milliseconds otherwise) {
  const int64_t asked = google::protobuf::util::TimeUtil::DurationToMilliseconds(duration);
  if (asked <= 0) return otherwise;
  return std::clamp<milliseconds>(milliseconds(asked), milliseconds(50), std::chrono::minutes(1));
}

Order OrderOf(v1::Job::DesiredState state) {
  switch (state) {
    case v1::Job::PAUSE:
    case v1::Job::CANCEL: return Order::kStop;
    case v1::Job::KILL: return Order::kLeave;
    default: return Order::kRun;
  }
}

}  // namespace

Reporter::Reporter(Options options)
    : options_(std::move(options)),
      rank_(NameOf(options_.settings)),
      connection_(options_.settings),
      outbox_(OpenSpool(), {.max_waiting_points = options_.settings.max_waiting_points,
                            .batch_bytes = options_.settings.batch_bytes,
                            .on_warning = options_.on_warning}) {
  thread_ = std::thread([this] { Loop(); });
}

Reporter::~Reporter() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    if (call_ != nullptr) call_->TryCancel();
  }
  changed_.notify_all();
  outbox_.Wake();
  thread_.join();
  sender_.reset();
}

std::unique_ptr<Spool> Reporter::OpenSpool() const {
  const ReportSettings& settings = options_.settings;
  try {
    return std::make_unique<Spool>(SpoolOptions{.folder = settings.spool,
                                                .attempt = settings.attempt,
                                                .rank = settings.rank,
                                                .max_bytes = settings.max_spool_bytes});
  } catch (const Error& error) {
    Warn("there is no spool, what is not delivered when this process ends is lost: " +
         error.message());
    return nullptr;
  }
}

void Reporter::SetPlan(int64_t total_steps, int64_t first_step) {
  {
    std::lock_guard lock(mutex_);
    total_steps_ = total_steps;
    first_step_ = first_step;
    register_due_ = true;
  }
  changed_.notify_all();
}

void Reporter::Loop() {
  Backoff backoff(options_.settings);
  std::unique_lock lock(mutex_);
  while (!stop_ && !superseded_) {
    // A coordinator that was away, if only between two heartbeats, must know of this rank again.
    const bool registering = register_due_ || !connection_.IsUp();
    lock.unlock();
    bool well = registering ? Register() : Heartbeat();
    lock.lock();
    if (!well) register_due_ = true;
    if (well && exit_ && !stop_) {
      sender_->ShortenRetryPauses();
      lock.unlock();
      const bool all = outbox_.WaitUntilEmpty(std::min(interval_, kLastPause));
      if (all) well = ReportExit();
      lock.lock();
      if (!all) continue;
    }
    // A plan that was made during the call is told at once.
    const bool at_once = registering || register_due_;
    milliseconds pause = !well ? backoff.Next() : at_once ? milliseconds(0) : interval_;
    if (exit_) pause = std::min(pause, kLastPause);
    if (well) backoff.Reset();
    const bool was_due = register_due_, had_exit = exit_.has_value();
    changed_.wait_for(lock, pause, [&] {
      return stop_ || exit_delivered_ || exit_.has_value() != had_exit || register_due_ != was_due;
    });
    if (exit_delivered_) return;
  }
}

template <typename Call>
grpc::Status Reporter::Make(Call&& call, bool waits) {
  grpc::ClientContext context;
  connection_.Prepare(context, options_.settings.call_time, waits);
  {
    std::lock_guard lock(mutex_);
    if (stop_) return grpc::Status::CANCELLED;
    call_ = &context;
  }
  const grpc::Status status = call(connection_.stub(), &context);
  std::lock_guard lock(mutex_);
  call_ = nullptr;
  return status;
}

bool Reporter::Judge(const char* doing, const grpc::Status& status) {
  if (status.ok()) {
    last_warning_.clear();
    return true;
  }
  if (IsSuperseded(status)) {
    std::unique_lock lock(mutex_);
    superseded_ = true;
    lock.unlock();
    FollowOrder(Order::kLeave, status.error_message());
  } else if (!connection_.IsAbsence(status)) {
    const std::string warning = std::string("cannot ") + doing + ": " + Describe(status) +
                                "; training goes on, and it is tried again";
    if (warning != last_warning_) Warn(warning);
    last_warning_ = warning;
  }
  return false;
}

bool Reporter::Register() {
  v1::RegisterRequest request;
  *request.mutable_rank() = rank_;
  request.set_processes(options_.settings.processes);
  request.set_host(options_.settings.host);
  request.set_pid(::getpid());
  request.set_version(options_.settings.version);
  {
    std::lock_guard lock(mutex_);
    request.set_total_steps(total_steps_);
    request.set_first_step(first_step_);
    register_due_ = false;
  }
  v1::RegisterResponse response;
  // The only call that waits for a coordinator: one that comes back must hear it first of all.
  const grpc::Status status = Make(
      [&](auto& stub, auto* context) { return stub.Register(context, request, &response); }, true);
  if (!Judge("register with the coordinator", status)) return false;
  interval_ = IntervalOf(response.heartbeat_interval(), interval_);
  if (sender_) return true;
  sender_ = std::make_unique<MetricSender>(
      connection_, outbox_, response.acknowledged(),
      MetricSender::Options{
          .settings = options_.settings,
          .rank = rank_,
          .on_superseded =
              [this] { FollowOrder(Order::kLeave, rank_.attempt() + " was given up"); },
          .on_failure =
              [this] {
                {
                  std::lock_guard lock(mutex_);
                  register_due_ = true;
                }
                changed_.notify_all();
              },
          .on_warning = options_.on_warning});
  return true;
}

bool Reporter::Heartbeat() {
  const RankStatus status = options_.status ? options_.status() : RankStatus();
  const Outbox::Figures figures = outbox_.figures();
  v1::HeartbeatRequest request;
  *request.mutable_rank() = rank_;
  request.set_phase(status.phase);
  request.set_step(status.step);
  request.set_epoch(status.epoch);
  request.set_reduction(status.reduction);
  request.set_reduction_name(status.reduction_name);
  request.set_progress(status.progress);
  if (status.checkpoint_step) request.set_checkpoint_step(*status.checkpoint_step);
  request.set_spooled_points(figures.waiting);
  request.set_lost_points(figures.lost);
  v1::HeartbeatResponse response;
  const grpc::Status result =
      Make([&](auto& stub, auto* context) { return stub.Heartbeat(context, request, &response); });
  if (!Judge("tell the coordinator how it goes", result)) return false;
  interval_ = IntervalOf(response.heartbeat_interval(), interval_);
  FollowOrder(OrderOf(response.desired_state()),
              "the coordinator asked for " + v1::Job::DesiredState_Name(response.desired_state()));
  if (response.register_again()) {
    std::lock_guard lock(mutex_);
    register_due_ = true;
  }
  return true;
}

bool Reporter::ReportExit() {
  v1::ReportExitRequest request;
  *request.mutable_rank() = rank_;
  {
    std::lock_guard lock(mutex_);
    *request.mutable_exit() = *exit_;
  }
  v1::ReportExitResponse response;
  const grpc::Status status = Make(
      [&](auto& stub, auto* context) { return stub.ReportExit(context, request, &response); });
  if (!Judge("report the end of this rank", status)) return false;
  {
    std::lock_guard lock(mutex_);
    exit_delivered_ = true;
  }
  changed_.notify_all();
  return true;
}

void Reporter::FollowOrder(Order order, const std::string& reason) {
  {
    std::lock_guard lock(mutex_);
    if (order <= order_) return;
    order_ = order;
  }
  if (order == Order::kLeave) SpoolLeaving(reason);
  if (options_.on_order) options_.on_order(order, reason);
  if (order != Order::kLeave) return;
  // Only now: who is told to leave must not be overtaken by who only ends.
  {
    std::lock_guard lock(mutex_);
    left_ = true;
  }
  changed_.notify_all();
}

void Reporter::FillExit(v1::RankExit& exit) {
  {
    std::lock_guard lock(mutex_);
    exit.set_total_steps(total_steps_);
  }
  exit.set_host(options_.settings.host);
  const Outbox::Figures figures = outbox_.figures();
  exit.set_lost_points(figures.lost);
  exit.set_last_sequence(figures.last);
}

void Reporter::SpoolLeaving(const std::string& reason) {
  {
    std::lock_guard lock(mutex_);
    if (exit_) return;
  }
  v1::RankExit exit;
  exit.set_outcome(v1::ATTEMPT_OUTCOME_STOPPED);
  exit.set_message("left at once, without a checkpoint: " + reason);
  FillExit(exit);
  outbox_.WriteExit(exit);
}

Delivery Reporter::Finish(v1::RankExit exit, milliseconds time) {
  const auto deadline = steady_clock::now() + time;
  // The disk first: it is what remains when the time is up.
  outbox_.Flush(std::min(time, milliseconds(2000)), false);
  FillExit(exit);
  Delivery delivery{.exit_spooled = outbox_.WriteExit(exit)};
  {
    std::unique_lock lock(mutex_);
    exit_ = std::move(exit);
    changed_.notify_all();
    connection_.ResetBackoff();
    changed_.wait_until(lock, deadline, [&] { return exit_delivered_ || left_; });
    delivery.exit_delivered = exit_delivered_;
  }
  const Outbox::Figures figures = outbox_.figures();
  delivery.points_left = figures.waiting;
  delivery.lost_points = figures.lost;
  if (delivery.exit_delivered && figures.waiting == 0) outbox_.RemoveSpool();
  return delivery;
}

void Reporter::Warn(const std::string& warning) const {
  if (options_.on_warning) options_.on_warning(warning);
}

}  // namespace syncbn::report
