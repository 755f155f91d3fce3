// The controller's dealings with attempts through the launcher: start, observe, close.
#include <google/protobuf/util/time_util.h>

#include "coordinator/api_error.h"
#include "coordinator/control/controller.h"
#include "coordinator/control/open_job.h"

namespace syncbn::coordinator {
namespace {

// What it took to end an attempt on order: the rung of the supervisor's ladder, for people.
std::string RungText(const std::string& rung) {
  if (rung.empty()) return "";
  if (rung == "ask") return "its workers left when they were asked to";
  if (rung == "checkpoint") return "its workers left after a signal to write a checkpoint";
  if (rung == "terminate") return "its workers were ended with SIGTERM";
  if (rung == "launcher") return "its launcher was told to end its workers";
  return "its processes were killed";
}

// The same, and what its workers say should be known of it although nothing failed.
std::string EndText(const std::string& rung, const std::vector<RankReport>& reports) {
  std::string text = RungText(rung);
  for (const RankReport& report : reports) {
    if (report.exit.note().empty()) continue;
    return (text.empty() ? "" : text + "; ") + report.exit.note();
  }
  return text;
}

}  // namespace

void Controller::Launch(AttemptId id) {
  const std::string name = AttemptName(id.job, id.attempt);
  const AttemptRef attempt = RefOf(id);
  LaunchContext context{.attempt = attempt, .marker = attempt.marker};
  JobRecord record;
  bool wanted = false;
  {
    std::lock_guard lock(mutex_);
    const auto found = open_.find(id.job);
    if (found == open_.end() || found->second.record.status.attempt != id.attempt) return;
    OpenJob& open = found->second;
    record = open.record;
    wanted = record.status.state == JobState::kStarting;
    context.token = std::move(open.token);
    open.token.clear();
    context.placement = open.placement;
    context.request = RequestOf(id.job, record.spec.resources());
  }
  std::optional<Failure> start_failure;
  try {
    // Cancelled or paused since it was placed: an order to stop may have come before there was
    // anything to stop. Looking at it, below, makes sure that it never starts.
    if (wanted) {
      RunFileText run_file =
          options_.store->Read([&](Tables& tables) { return tables.jobs.RunFile(id.job); });
      options_.launcher->Start(
          file_system_.Run("the output folder " + record.spec.output_folder(),
                           [make = options_.make_launch, record, run_file = std::move(run_file),
                            context] { return make(record, run_file, context); }));
    }
  } catch (const Error& error) {
    options_.log("starting " + name + ": " + error.what());
    start_failure =
        Failure{.failure_class = error.code() == ErrorCode::kInvalidArgument ? FailureClass::kConfig
                                                                             : FailureClass::kInfra,
                .message = "the attempt could not be started: " + error.message(),
                .attempt = id.attempt};
  } catch (const std::exception& error) {
    options_.log("starting " + name + ": " + error.what());
    start_failure =
        Failure{.failure_class = FailureClass::kInfra,
                .message = std::string("the attempt could not be started: ") + error.what(),
                .attempt = id.attempt};
  }
  const bool started = wanted && !start_failure;
  {
    std::lock_guard lock(mutex_);
    const auto found = open_.find(id.job);
    if (found == open_.end() || found->second.record.status.attempt != id.attempt) return;
    found->second.started = true;
    found->second.start_failure = std::move(start_failure);
  }
  if (started) return;
  // It may have started all the same; if it has not, looking makes sure that it never will.
  Guarded("looking at " + name, [&] { HandleObservation(id, Observe(attempt)); });
}

Observation Controller::Observe(const AttemptRef& attempt) const {
  try {
    return options_.launcher->Observe(attempt);
  } catch (const std::exception& error) {
    return {.kind = Observation::Kind::kUnknown, .detail = error.what()};
  }
}

void Controller::HandleObservation(AttemptId id, const Observation& observation) {
  switch (observation.kind) {
    case Observation::Kind::kEnded:
      Close(id, *observation.exit);
      break;
    case Observation::Kind::kWaiting: {
      std::lock_guard lock(mutex_);
      const auto found = open_.find(id.job);
      if (found == open_.end() || found->second.record.status.state != JobState::kStarting) return;
      found->second.waiting = observation.detail;
      found->second.in_queue = true;
      found->second.record_awaited = false;
      found->second.WaitsInQueue(Now(), observation.begin, options_.job_policy.start_limit);
      break;
    }
    case Observation::Kind::kAlive: {
      std::lock_guard lock(mutex_);
      const auto found = open_.find(id.job);
      if (found == open_.end() || found->second.record.status.attempt != id.attempt) return;
      OpenJob& open = found->second;
      if (!observation.trouble.empty() && open.waiting != observation.trouble)
        options_.log(AttemptName(id.job, id.attempt) + ": " + observation.trouble);
      open.waiting = observation.trouble;
      open.in_queue = false;
      open.record_awaited = observation.record_awaited;
      if (observation.record_awaited && open.record.status.state == JobState::kStarting) {
        // The record says why it did not start; the limit of the start would only say that it did
        // not.
        open.waiting = observation.detail;
        open.WaitsInQueue(Now(), observation.begin, options_.job_policy.start_limit);
      }
      if (observation.begin && open.record.status.attempt_live)
        open.BeganAt(Now(), *observation.begin);
      open.unseen.clear();
      if (open.written != 0 && open.written != observation.written)
        open.last_written = options_.clock->Monotonic();
      open.written = observation.written;
      break;
    }
    case Observation::Kind::kUnknown: {
      std::lock_guard lock(mutex_);
      const auto found = open_.find(id.job);
      if (found == open_.end()) return;
      // Its queue does not become a start because nobody can ask, nor because this coordinator is
      // another than the one that last could.
      const bool in_queue = found->second.in_queue || (!options_.places && !observation.begin);
      if (in_queue && found->second.record.status.state == JobState::kStarting) {
        found->second.WaitsInQueue(Now(), observation.begin, options_.job_policy.start_limit);
      }
      // Once, not at every look.
      if (found->second.unseen == observation.detail) return;
      found->second.unseen = observation.detail;
      if (found->second.record.status.state == JobState::kStarting)
        found->second.waiting = observation.detail;
      options_.log(AttemptName(id.job, id.attempt) + " cannot be observed: " + observation.detail);
      break;
    }
  }
}

void Controller::Close(AttemptId id, const v1::ExitRecord& exit) {
  const AttemptRef attempt = RefOf(id);
  std::optional<Failure> start_failure;
  {
    std::lock_guard lock(mutex_);
    const auto found = open_.find(id.job);
    if (found != open_.end() && found->second.record.status.attempt == id.attempt)
      start_failure = found->second.start_failure;
  }
  // What its workers could not deliver: their exit reports are needed now.
  Guarded("taking in the spool of " + AttemptName(id.job, id.attempt),
          [&] { options_.ingest_spool(attempt); });
  std::vector<RankReport> reports;
  int processes = 1;
  int64_t lost = 0;
  options_.store->Read([&](Tables& tables) {
    lost = tables.metrics.LostPoints(id.job);
    processes = RequestOf(id.job, tables.jobs.Get(id.job).spec.resources()).processes;
    for (auto& report : tables.attempts.RankExits(id))
      reports.push_back({report.rank, std::move(report.exit)});
  });
  {
    std::lock_guard lock(mutex_);
    const auto found = open_.find(id.job);
    if (found != open_.end() && found->second.record.status.attempt == id.attempt) {
      for (const RankReport& report : reports) found->second.AdvanceTo(report.exit);
      found->second.LostInStore(lost);
    }
  }
  // It may have ended while there was no coordinator.
  std::optional<WallTime> end_time;
  std::optional<std::chrono::microseconds> run_time;
  if (exit.has_end_time()) end_time = FromProto(exit.end_time());
  if (exit.has_run_time()) {
    run_time = std::chrono::microseconds(
        google::protobuf::util::TimeUtil::DurationToMicroseconds(exit.run_time()));
  } else if (!options_.places && exit.has_start_time() && exit.has_end_time()) {
    run_time = std::max(std::chrono::microseconds(0),
                        FromProto(exit.end_time()) - FromProto(exit.start_time()));
  } else if (!options_.places && (exit.cause() == v1::ExitRecord::NEVER_RAN ||
                                  exit.cause() == v1::ExitRecord::NOT_STARTED)) {
    run_time = std::chrono::microseconds(0);  // all of it in somebody else's queue
  }
  Verdict verdict = Classify(exit, reports, processes, id.attempt);
  Event event{.kind = EventKind::kEnded,
              .attempt = id.attempt,
              .outcome = verdict.outcome,
              .failure = verdict.failure,
              .end_time = end_time,
              .run_time = run_time};
  if (verdict.never_ran) {
    event = {.kind = EventKind::kNotStarted,
             .attempt = id.attempt,
             .end_time = end_time,
             .run_time = run_time};
    if (start_failure) {
      event = {.kind = EventKind::kEnded,
               .attempt = id.attempt,
               .outcome = AttemptOutcome::kFailed,
               .failure = start_failure,
               .end_time = end_time,
               .run_time = run_time};
    }
  }
  std::vector<HostHealth> changed;
  const Outcome outcome = ApplyEvent(
      id.job, event, {.actor = "supervisor", .reason = EndText(exit.rung(), reports)},
      [&](Tables& tables, Applied& applied) {
        const Moment now = Now();
        v1::Attempt record = tables.attempts.Get(id);
        const WallTime start = std::min(now.wall, FromProto(record.start_time()));
        *record.mutable_end_time() =
            ToProto(std::clamp(end_time.value_or(now.wall), start, now.wall));
        if (!verdict.never_ran || start_failure)
          record.set_outcome(static_cast<v1::AttemptOutcome>(event.outcome));
        // What the job says of the attempt (a stall, a time limit) is more than what its end looks
        // like.
        if (event.failure) *record.mutable_failure() = ToProto(*event.failure);
        if (event.outcome != AttemptOutcome::kCompleted && applied.outcome.status.failure &&
            applied.outcome.status.failure->attempt == id.attempt) {
          *record.mutable_failure() = ToProto(*applied.outcome.status.failure);
        }
        AddHosts(record.mutable_possibly_held_hosts(),
                 {exit.unverified_hosts().begin(), exit.unverified_hosts().end()});
        tables.attempts.Update(id, record);
        if (exit.unverified_hosts_size() > 0) {
          v1::Job spec = tables.jobs.Get(id.job).spec;
          AddHosts(spec.mutable_possibly_held_hosts(),
                   {exit.unverified_hosts().begin(), exit.unverified_hosts().end()});
          tables.jobs.UpdateSpec(id.job, spec);
        }
        changed.clear();
        auto put = [&](const HostHealth& health) {
          tables.hosts.Put(health);
          changed.push_back(health);
        };
        std::vector<std::string> bad = verdict.bad_hosts;
        bad.insert(bad.end(), exit.unverified_hosts().begin(), exit.unverified_hosts().end());
        for (const std::string& host : bad) {
          const std::string message = event.failure
                                          ? event.failure->message
                                          : "may still hold processes of " + record.name();
          put(AfterFailure(tables.hosts.Get(host), {now.durable, record.name(), message},
                           options_.host_policy));
        }
        if (event.outcome != AttemptOutcome::kCompleted || verdict.never_ran) return;
        for (const v1::HostShare& share : record.hosts()) {
          const HostHealth health = tables.hosts.Get(share.host());
          if (!health.failures.empty() || health.exclusions > 0) put(AfterSuccess(health));
        }
      });
  std::lock_guard lock(mutex_);
  for (HostHealth& health : changed) health_[health.name] = std::move(health);
  if (outcome.verdict == Outcome::Verdict::kApplied) schedule_due_ = true;
}

}  // namespace syncbn::coordinator
