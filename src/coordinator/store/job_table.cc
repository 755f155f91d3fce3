#include "coordinator/store/job_table.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "base/utf8.h"
#include "coordinator/api_error.h"
#include "coordinator/store/column.h"

namespace syncbn::coordinator {
namespace {

// Of a transition, as it is shown.
constexpr size_t kMostReason = 4096;

// With the newest evaluation, which the first rank reports. Its names are none of a job's: conditions
// speak of those without saying whose they are.
constexpr const char* kSelect =
    "SELECT id, spec, create_time, start_time, end_time, revision, progress, state, desired, "
    "liveness, attempt, attempt_live, forced, retries, since, deadline, attempt_start, "
    "running_since, used, cause, failure, last_step, last_value, max_value "
    "FROM jobs LEFT JOIN (SELECT job AS evaluated_job, last_step, last_value, max_value "
    "FROM series WHERE name = 'test/accuracy' AND rank = 0) ON evaluated_job = id ";

template <typename Time = WallTime>
std::optional<Time> OptionalTime(const Rows& rows, int column) {
  if (rows.IsNull(column)) return std::nullopt;
  return FromMicros<Time>(rows.Int(column));
}

std::optional<Failure> OptionalFailure(const Rows& rows, int column) {
  if (rows.IsNull(column)) return std::nullopt;
  return FromProto(ParseColumn<v1::Failure>(rows.Bytes(column), "failure"));
}

std::optional<std::string> Bytes(const std::optional<Failure>& failure) {
  if (!failure) return std::nullopt;
  return ToProto(*failure).SerializeAsString();
}

std::optional<v1::Evaluation> OptionalEvaluation(const Rows& rows) {
  if (rows.IsNull(21)) return std::nullopt;
  v1::Evaluation evaluation;
  evaluation.set_step(rows.Int(21));
  if (!rows.IsNull(22)) evaluation.set_accuracy(rows.Real(22));
  if (!rows.IsNull(23)) evaluation.set_best_accuracy(rows.Real(23));
  return evaluation;
}

JobRecord Read(const Rows& rows) {
  JobRecord record;
  record.id = rows.Int(0);
  record.spec = ParseColumn<v1::Job>(rows.Bytes(1), "job");
  record.create_time = FromMicros(rows.Int(2));
  record.start_time = OptionalTime(rows, 3);
  record.revision = rows.Int(5);
  record.progress = ParseColumn<v1::Progress>(rows.Bytes(6), "progress report");
  JobStatus& status = record.status;
  status.state = static_cast<JobState>(rows.Int(7));
  status.desired = static_cast<DesiredState>(rows.Int(8));
  status.liveness = static_cast<Liveness>(rows.Int(9));
  status.attempt = static_cast<int>(rows.Int(10));
  status.attempt_live = rows.Int(11) != 0;
  status.forced = rows.Int(12) != 0;
  status.retries = static_cast<int>(rows.Int(13));
  status.since = FromMicros(rows.Int(14));
  status.end_time = OptionalTime(rows, 4);
  status.deadline = OptionalTime<DurableTime>(rows, 15);
  status.attempt_start = OptionalTime<DurableTime>(rows, 16);
  status.running_since = OptionalTime<DurableTime>(rows, 17);
  status.used = std::chrono::microseconds(rows.Int(18));
  status.cause = OptionalFailure(rows, 19);
  status.failure = OptionalFailure(rows, 20);
  record.evaluation = OptionalEvaluation(rows);
  return record;
}

// Of what is long in a row; the rest of a job's answer takes less than this.
int64_t BytesOf(const Rows& rows) {
  constexpr int64_t kRest = 512;
  return kRest +
         static_cast<int64_t>(rows.Bytes(1).size() + rows.Bytes(6).size() + rows.Bytes(20).size());
}

int FailureClassOf(const JobStatus& status) {
  return status.failure ? static_cast<int>(status.failure->failure_class) : 0;
}

// A failure travels as bytes; an absent one as NULL.
std::optional<Blob> AsBlob(const std::optional<std::string>& bytes) {
  if (!bytes) return std::nullopt;
  return Blob{*bytes};
}

}  // namespace

int64_t BytesOf(const v1::Job& spec, const RunFileText& run_file) {
  return static_cast<int64_t>(spec.ByteSizeLong() + run_file.text.size() +
                              run_file.effective.size());
}

int64_t JobTable::NextId() const {
  Rows rows = database_.Query("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'");
  return rows.Next() ? rows.Int(0) + 1 : 1;
}

int64_t JobTable::Create(const v1::Job& spec, const RunFileText& run_file, const JobStatus& status,
                         const TransitionCause& cause, WallTime now,
                         std::optional<int64_t> wanted) {
  SYNCBN_CHECK(spec.run_file().empty() && spec.effective_run_file().empty())
      << "run files are kept apart";
  database_.Run(
      "INSERT INTO jobs(id, display_name, submitter, priority, spec, bytes, create_time, revision, "
      "progress, state, desired, liveness, attempt, attempt_live, forced, retries, since, "
      "deadline, "
      "used, failure_class) VALUES (?, ?, ?, ?, ?, ?, ?, 1, x'', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
      wanted, spec.display_name(), spec.submitter(), spec.resources().priority(),
      Blob{spec.SerializeAsString()}, BytesOf(spec, run_file), Micros(now),
      static_cast<int>(status.state), static_cast<int>(status.desired),
      static_cast<int>(status.liveness), status.attempt, status.attempt_live, status.forced,
      status.retries, Micros(status.since), Micros(status.deadline), int64_t{status.used.count()});
  const int64_t id = database_.LastId();
  database_.Run("INSERT INTO run_files(job, text, effective) VALUES (?, ?, ?)", id, run_file.text,
                run_file.effective);
  for (const auto& [key, value] : spec.labels()) {
    database_.Run("INSERT INTO labels(key, value, job) VALUES (?, ?, ?)", key, value, id);
  }
  AddTransition(id, status.attempt, static_cast<JobState>(0), status.state, status.desired, cause,
                now);
  return id;
}

JobRecord JobTable::Get(int64_t id) const {
  Rows rows = Select("WHERE id = ?");
  database_.BindTo(rows, 1, id);
  if (!rows.Next()) {
    throw ApiError(ErrorCode::kNotFound, "JOB_NOT_FOUND", "there is no job " + JobName(id));
  }
  return Read(rows);
}

RunFileText JobTable::RunFile(int64_t id) const {
  Rows rows = database_.Query("SELECT text, effective FROM run_files WHERE job = ?", id);
  if (!rows.Next()) {
    throw ApiError(ErrorCode::kNotFound, "JOB_NOT_FOUND", "there is no job " + JobName(id));
  }
  return {rows.Text(0), rows.Text(1)};
}

void JobTable::Update(int64_t id, const JobStatus& next, const TransitionCause& transition_cause,
                      WallTime now) {
  const JobRecord before = Get(id);
  const std::optional<WallTime> start =
      next.attempt_start && !before.start_time ? now : before.start_time;
  const std::optional<std::string> cause = Bytes(next.cause), failure = Bytes(next.failure);
  database_.Run(
      "UPDATE jobs SET revision = revision + 1, start_time = ?, end_time = ?, state = ?, desired = "
      "?, "
      "liveness = ?, attempt = ?, attempt_live = ?, forced = ?, retries = ?, since = ?, deadline = "
      "?, "
      "attempt_start = ?, running_since = ?, used = ?, cause = ?, failure = ?, failure_class = ? "
      "WHERE id = ?",
      Micros(start), Micros(next.end_time), static_cast<int>(next.state), static_cast<int>(next.desired),
      static_cast<int>(next.liveness), next.attempt, next.attempt_live, next.forced, next.retries,
      Micros(next.since), Micros(next.deadline), Micros(next.attempt_start),
      Micros(next.running_since), int64_t{next.used.count()}, AsBlob(cause), AsBlob(failure),
      FailureClassOf(next), id);
  AddTransition(id, next.attempt, before.status.state, next.state, next.desired, transition_cause,
                now);
}

void JobTable::UpdateSpec(int64_t id, const v1::Job& spec) {
  database_.Run("UPDATE jobs SET spec = ?, priority = ?, revision = revision + 1 WHERE id = ?",
                Blob{spec.SerializeAsString()}, spec.resources().priority(), id);
  Touch(id);
}

void JobTable::UpdateProgress(int64_t id, const v1::Progress& progress) {
  database_.Run("UPDATE jobs SET progress = ? WHERE id = ?", Blob{progress.SerializeAsString()},
                id);
  Touch(id);
}

std::vector<JobRecord> JobTable::Open() const {
  std::vector<JobRecord> jobs;
  Rows rows = Select("WHERE state < ? ORDER BY id");
  database_.BindTo(rows, 1, static_cast<int>(JobState::kSucceeded));
  while (rows.Next()) jobs.push_back(Read(rows));
  return jobs;
}

JobPage JobTable::List(const JobFilter& filter, const PageLimits& limits,
                       const std::string& page_token) const {
  // A token is the number of the last job shown and the filter's fingerprint.
  int64_t before = INT64_MAX;
  if (!page_token.empty()) {
    const char* end = page_token.data() + page_token.size();
    const auto [at, code] = std::from_chars(page_token.data(), end, before);
    if (code != std::errc() || std::string(at, end) != "." + filter.Fingerprint()) {
      throw ApiError(
          ErrorCode::kInvalidArgument, "PAGE_TOKEN_INVALID",
          "page token '" + page_token.substr(0, 80) + "' is not of a list with this filter: start anew");
    }
  }
  std::string sql = kSelect;
  sql.append("WHERE ").append(filter.sql()).append(" AND id < ? ORDER BY id DESC LIMIT ?");
  Rows rows = database_.Start(sql, Database::Keep::kNo);
  int index = 0;
  for (const JobFilter::Value& value : filter.values()) {
    std::visit([&](const auto& one) { database_.BindTo(rows, ++index, one); }, value);
  }
  database_.BindTo(rows, ++index, before);
  // One more than asked for tells whether there is another page.
  database_.BindTo(rows, ++index, limits.jobs + 1);
  JobPage page;
  int64_t bytes = 0;
  while (rows.Next()) {
    RunFileText run_file;
    if (limits.run_files) run_file = RunFile(rows.Int(0));
    bytes += BytesOf(rows) + static_cast<int64_t>(run_file.text.size() + run_file.effective.size());
    const auto size = static_cast<int>(page.jobs.size());
    if (size == limits.jobs || (size > 0 && bytes > limits.bytes)) {
      page.next_page_token = std::to_string(page.jobs.back().id) + "." + filter.Fingerprint();
      break;
    }
    page.jobs.push_back(Read(rows));
    if (limits.run_files) page.run_files.push_back(std::move(run_file));
  }
  return page;
}

JobUse JobTable::UseOf(const std::string& submitter) const {
  Rows rows = database_.Query(
      "SELECT count(*) FILTER (WHERE state < ?), coalesce(sum(bytes), 0) FROM jobs "
      "WHERE submitter = ?",
      static_cast<int>(JobState::kSucceeded), submitter);
  rows.Next();
  return {.open = rows.Int(0), .bytes = rows.Int(1)};
}

bool JobTable::Matches(int64_t id, const JobFilter& filter) const {
  std::string sql = "SELECT 1 FROM jobs WHERE ";
  sql.append(filter.sql()).append(" AND id = ?");
  Rows rows = database_.Start(sql, Database::Keep::kNo);
  int index = 0;
  for (const JobFilter::Value& value : filter.values()) {
    std::visit([&](const auto& one) { database_.BindTo(rows, ++index, one); }, value);
  }
  database_.BindTo(rows, ++index, id);
  return rows.Next();
}

int64_t JobTable::Count() const {
  Rows rows = database_.Query("SELECT count(*) FROM jobs");
  rows.Next();
  return rows.Int(0);
}

void JobTable::Delete(int64_t id, const TransitionCause& cause, WallTime now) {
  const JobRecord record = Get(id);
  if (!IsEnded(record.status.state)) {
    throw ApiError(ErrorCode::kFailedPrecondition, "WRONG_STATE",
                   JobName(id) + " is " + std::string(JobStateName(record.status.state)) +
                       ": only a job that has ended can be deleted; cancel it first",
                   {{"state", std::string(JobStateName(record.status.state))}});
  }
  database_.Run("DELETE FROM transitions WHERE job = ?", id);
  database_.Run("DELETE FROM jobs WHERE id = ?", id);
  AddTransition(id, record.status.attempt, record.status.state, static_cast<JobState>(0),
                record.status.desired, cause, now);
}

std::vector<v1::Transition> JobTable::History(std::optional<int64_t> job, int64_t after,
                                              int limit) const {
  constexpr const char* kAll =
      "SELECT sequence, job, attempt, time, actor, event, reason, from_state, to_state, desired "
      "FROM transitions WHERE sequence > ? ORDER BY sequence LIMIT ?";
  constexpr const char* kOne =
      "SELECT sequence, job, attempt, time, actor, event, reason, from_state, to_state, desired "
      "FROM transitions WHERE sequence > ? AND job = ? ORDER BY sequence LIMIT ?";
  Rows rows = job ? database_.Query(kOne, after, *job, limit) : database_.Query(kAll, after, limit);
  std::vector<v1::Transition> history;
  while (rows.Next()) {
    v1::Transition& entry = history.emplace_back();
    entry.set_sequence(rows.Int(0));
    entry.set_job(JobName(rows.Int(1)));
    entry.set_attempt(static_cast<int>(rows.Int(2)));
    *entry.mutable_time() = ToProto(FromMicros(rows.Int(3)));
    entry.set_actor(rows.Text(4));
    entry.set_event(rows.Text(5));
    entry.set_reason(Utf8Beginning(rows.Text(6), kMostReason));
    entry.set_from_state(static_cast<v1::Job::State>(rows.Int(7)));
    entry.set_to_state(static_cast<v1::Job::State>(rows.Int(8)));
    entry.set_desired_state(static_cast<v1::Job::DesiredState>(rows.Int(9)));
  }
  return history;
}

int64_t JobTable::NewestTransition() const {
  // Not max(sequence): the newest entries may have been deleted, and their numbers are never used
  // again.
  Rows rows = database_.Query("SELECT seq FROM sqlite_sequence WHERE name = 'transitions'");
  return rows.Next() ? rows.Int(0) : 0;
}

int64_t JobTable::ForgottenTransitions() const {
  Rows rows = database_.Query("SELECT value FROM meta WHERE key = 'forgotten_transitions'");
  return rows.Next() ? std::stoll(rows.Text(0)) : 0;
}

Rows JobTable::Select(std::string_view rest) const {
  std::string sql = kSelect;
  sql.append(rest);
  return database_.Start(sql);
}

void JobTable::AddTransition(int64_t id, int attempt, JobState from, JobState to,
                             DesiredState desired, const TransitionCause& cause, WallTime now) {
  database_.Run(
      "INSERT INTO transitions(job, attempt, time, actor, event, reason, from_state, to_state, "
      "desired) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
      id, attempt, Micros(now), cause.actor, cause.event, cause.reason, static_cast<int>(from),
      static_cast<int>(to), static_cast<int>(desired));
  // A history counts as what its job keeps: its reasons are as long as users make them.
  constexpr size_t kNumbers = 64;
  database_.Run("UPDATE jobs SET bytes = bytes + ? WHERE id = ?",
                static_cast<int64_t>(kNumbers + cause.actor.size() + cause.event.size() +
                                     cause.reason.size()),
                id);
  Touch(id);
}

void JobTable::Touch(int64_t id) {
  SYNCBN_CHECK(changes_ != nullptr) << "a change inside a read";
  changes_->push_back({Change::Kind::kJob, id});
}

}  // namespace syncbn::coordinator
