#include "coordinator/job/job_record.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <charconv>

#include "base/utf8.h"
#include "coordinator/api_error.h"

namespace syncbn::coordinator {
namespace {

using google::protobuf::util::TimeUtil;

// The enumerations of the state machine are those of the API, so that a cast converts them.
static_assert(static_cast<int>(JobState::kQueued) == v1::Job::QUEUED);
static_assert(static_cast<int>(JobState::kRunning) == v1::Job::RUNNING);
static_assert(static_cast<int>(JobState::kRecovering) == v1::Job::RECOVERING);
static_assert(static_cast<int>(JobState::kCancelled) == v1::Job::CANCELLED);
static_assert(static_cast<int>(DesiredState::kRun) == v1::Job::RUN);
static_assert(static_cast<int>(DesiredState::kKill) == v1::Job::KILL);
static_assert(static_cast<int>(Liveness::kLive) == v1::Job::LIVE);
static_assert(static_cast<int>(Liveness::kUnreachable) == v1::Job::UNREACHABLE);
static_assert(static_cast<int>(AttemptOutcome::kFailed) == v1::ATTEMPT_OUTCOME_FAILED);
static_assert(static_cast<int>(FailureClass::kConfig) == v1::Failure::CONFIG);
static_assert(static_cast<int>(FailureClass::kOom) == v1::Failure::OOM);
static_assert(static_cast<int>(FailureClass::kCancelled) == v1::Failure::CANCELLED);
static_assert(static_cast<int>(kFirstFailureClass) == v1::Failure::CONFIG);
static_assert(static_cast<int>(kLastFailureClass) == v1::Failure::STORAGE);
static_assert(static_cast<int>(kLastFailureClass) == v1::Failure::Class_MAX);

// What protobuf's times can be, in microseconds: 0001-01-01 to 9999-12-31, and 10,000 years.
constexpr int64_t kMicros = 1'000'000;
constexpr int64_t kFirstTime = TimeUtil::kTimestampMinSeconds * kMicros;
constexpr int64_t kLastTime = TimeUtil::kTimestampMaxSeconds * kMicros;
constexpr int64_t kLongestTime = TimeUtil::kDurationMaxSeconds * kMicros;

std::chrono::microseconds MicrosOf(int64_t seconds, int nanos, int64_t least, int64_t most) {
  const int64_t whole = std::clamp(seconds, least / kMicros, most / kMicros) * kMicros;
  return std::chrono::microseconds(std::clamp(whole + nanos / 1000, least, most));
}

// The positive number that is all of `text`; nothing if it is none.
template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  Number number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc() || end != text.data() + text.size() || number <= 0) return std::nullopt;
  return number;
}

// What tells the jobs of a sweep apart; a list of 1000 jobs stays light.
constexpr size_t kMostBasicOverrides = 512;
constexpr size_t kMostText = 16 * 1024;
// Of a name that is none, in messages.
constexpr size_t kMostShown = 100;
constexpr std::string_view kJobs = "jobs/", kAttempts = "/attempts/";

}  // namespace

std::string JobName(int64_t id) {
  return std::string(kJobs) + std::to_string(id);
}

std::string AttemptName(int64_t id, int attempt) {
  return JobName(id) + std::string(kAttempts) + std::to_string(attempt);
}

int64_t ParseJobName(std::string_view name, const std::string& field) {
  if (name.starts_with(kJobs)) {
    if (const auto id = ParseNumber<int64_t>(name.substr(kJobs.size()))) return *id;
  }
  ThrowFieldInvalid(field, "'" + std::string(name.substr(0, kMostShown)) +
                               "' is not the name of a job; they look like jobs/17");
}

AttemptId ParseAttemptName(std::string_view name, const std::string& field) {
  const size_t middle = name.find(kAttempts);
  if (middle != std::string_view::npos) {
    if (const auto attempt = ParseNumber<int>(name.substr(middle + kAttempts.size()))) {
      return {ParseJobName(name.substr(0, middle), field), *attempt};
    }
  }
  ThrowFieldInvalid(field, "'" + std::string(name.substr(0, kMostShown)) +
                               "' is not the name of an attempt; they look like jobs/17/attempts/2");
}

std::string Etag(int64_t revision) {
  return "r" + std::to_string(revision);
}

v1::Job ToProto(const JobRecord& record, Moment now) {
  const JobStatus& status = record.status;
  v1::Job job = record.spec;
  // Kept by an earlier version, perhaps, that took what JSON cannot show: one such job must not
  // make a list of all fail.
  if (job.resources().has_time_limit())
    *job.mutable_resources()->mutable_time_limit() =
        ToProto(FromProto(job.resources().time_limit()));
  job.set_name(JobName(record.id));
  job.set_state(static_cast<v1::Job::State>(status.state));
  job.set_desired_state(static_cast<v1::Job::DesiredState>(status.desired));
  job.set_liveness(static_cast<v1::Job::Liveness>(status.liveness));
  // An attempt that is being ended for a cause has failed by it already.
  const auto& failure = status.attempt_live && status.cause ? status.cause : status.failure;
  if (failure) *job.mutable_failure() = ToProto(*failure);
  job.set_attempt(status.attempt);
  job.set_retries(status.retries);
  if (status.state == JobState::kRecovering && !status.attempt_live && status.deadline) {
    *job.mutable_retry_time() = ToProto(now.WallAt(*status.deadline));
  }
  *job.mutable_progress() = record.progress;
  if (record.evaluation) *job.mutable_evaluation() = *record.evaluation;
  *job.mutable_create_time() = ToProto(record.create_time);
  if (record.start_time) *job.mutable_start_time() = ToProto(*record.start_time);
  if (status.end_time) *job.mutable_end_time() = ToProto(*status.end_time);
  *job.mutable_update_time() = ToProto(status.since);
  *job.mutable_used_time() = ToProto(UsedTime(status, now.durable));
  job.set_etag(Etag(record.revision));
  return job;
}

void MakeBasic(v1::Job& job) {
  job.clear_run_file();
  job.clear_effective_run_file();
  size_t bytes = 0;
  for (const std::string& change : job.overrides()) bytes += change.size();
  if (bytes > kMostBasicOverrides) job.clear_overrides();
  job.clear_environment();
  if (!job.has_resources()) return;
  job.mutable_resources()->clear_host_tags();
  job.mutable_resources()->clear_hosts();
  job.mutable_resources()->clear_excluded_hosts();
}

JobPolicy PolicyOf(const JobRecord& record, const JobPolicy& defaults) {
  JobPolicy policy = defaults;
  const v1::Resources& resources = record.spec.resources();
  if (resources.has_max_retries()) policy.max_retries = resources.max_retries();
  if (resources.has_time_limit()) policy.time_limit = FromProto(resources.time_limit());
  return policy;
}

v1::Failure ToProto(const Failure& failure) {
  v1::Failure proto;
  proto.set_class_(static_cast<v1::Failure::Class>(failure.failure_class));
  // What programs print may be anything; a text of protobuf that is no UTF-8 cannot be read again.
  proto.set_message(Utf8Beginning(failure.message, kMostText));
  if (failure.rank) proto.set_rank(*failure.rank);
  proto.set_host(Utf8Beginning(failure.host, kMostText));
  proto.set_signal(failure.signal);
  if (failure.exit_code) proto.set_exit_code(*failure.exit_code);
  proto.set_excerpt(Utf8Beginning(failure.excerpt, kMostText));
  proto.mutable_ranks()->Add(failure.ranks.begin(), failure.ranks.end());
  proto.set_attempt(failure.attempt);
  proto.set_operation(Utf8Beginning(failure.operation, kMostText));
  proto.set_activity(Utf8Beginning(failure.activity, kMostText));
  proto.set_layer(Utf8Beginning(failure.layer, kMostText));
  return proto;
}

Failure FromProto(const v1::Failure& proto) {
  Failure failure{.failure_class = static_cast<FailureClass>(proto.class_()),
                  .message = proto.message(),
                  .host = proto.host(),
                  .signal = proto.signal(),
                  .excerpt = proto.excerpt(),
                  .ranks = {proto.ranks().begin(), proto.ranks().end()},
                  .attempt = proto.attempt(),
                  .operation = proto.operation(),
                  .activity = proto.activity(),
                  .layer = proto.layer()};
  if (proto.has_rank()) failure.rank = proto.rank();
  if (proto.has_exit_code()) failure.exit_code = proto.exit_code();
  return failure;
}

google::protobuf::Timestamp ToProto(WallTime time) {
  return TimeUtil::MicrosecondsToTimestamp(
      std::clamp(int64_t{time.time_since_epoch().count()}, kFirstTime, kLastTime));
}

WallTime FromProto(const google::protobuf::Timestamp& time) {
  return WallTime(MicrosOf(time.seconds(), time.nanos(), kFirstTime, kLastTime));
}

google::protobuf::Duration ToProto(std::chrono::microseconds time) {
  return TimeUtil::MicrosecondsToDuration(
      std::clamp(int64_t{time.count()}, -kLongestTime, kLongestTime));
}

std::chrono::microseconds FromProto(const google::protobuf::Duration& time) {
  return MicrosOf(time.seconds(), time.nanos(), -kLongestTime, kLongestTime);
}

}  // namespace syncbn::coordinator
