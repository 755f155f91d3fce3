#include "coordinator/store/study_table.h"

#include <algorithm>
#include <charconv>

#include "coordinator/api_error.h"
#include "coordinator/store/column.h"

namespace syncbn::coordinator {
namespace {

constexpr std::string_view kStudies = "studies/";
// Of a name that is none, in messages.
constexpr size_t kMostShown = 100;

constexpr const char* kSelect =
    "SELECT id, spec, state, fault, progress, revision, create_time, update_time, end_time "
    "FROM studies ";
constexpr const char* kSelectTrials =
    "SELECT trial, job, paused, state FROM study_jobs LEFT JOIN jobs ON jobs.id = job "
    "WHERE study = ? AND current ";

StudyRecord Read(const Rows& rows) {
  StudyRecord record;
  record.id = rows.Int(0);
  record.spec = ParseColumn<v1::Study>(rows.Bytes(1), "study");
  record.state = static_cast<StudyState>(rows.Int(2));
  record.fault = rows.Text(3);
  record.progress = ParseColumn<v1::StudyProgress>(rows.Bytes(4), "progress of a study");
  record.revision = rows.Int(5);
  record.create_time = FromMicros(rows.Int(6));
  record.update_time = FromMicros(rows.Int(7));
  if (!rows.IsNull(8)) record.end_time = FromMicros(rows.Int(8));
  return record;
}

StudyTrial ReadTrial(const Rows& rows) {
  StudyTrial trial{.trial = rows.Text(0), .job = rows.Int(1), .paused = rows.Int(2) != 0};
  if (!rows.IsNull(3)) trial.state = static_cast<JobState>(rows.Int(3));
  return trial;
}

[[noreturn]] void ThrowNoStudy(int64_t id) {
  throw ApiError(ErrorCode::kNotFound, "STUDY_NOT_FOUND", "there is no study " + StudyName(id));
}

}  // namespace

std::string StudyName(int64_t id) {
  return std::string(kStudies) + std::to_string(id);
}

int64_t ParseStudyName(std::string_view name) {
  int64_t id = 0;
  if (name.starts_with(kStudies)) {
    const std::string_view number = name.substr(kStudies.size());
    const auto [end, code] = std::from_chars(number.data(), number.data() + number.size(), id);
    if (code == std::errc() && end == number.data() + number.size() && id > 0) return id;
  }
  ThrowFieldInvalid("name", "'" + std::string(name.substr(0, kMostShown)) +
                                "' is not the name of a study; they look like studies/17");
}

std::filesystem::path StudyOutput(const std::filesystem::path& output_root, int64_t study) {
  return output_root / ("study-" + std::to_string(study));
}

bool IsEnded(StudyState state) {
  return state >= v1::Study::SUCCEEDED;
}

v1::Study ToProto(const StudyRecord& record) {
  v1::Study study = record.spec;
  study.set_name(StudyName(record.id));
  study.set_state(record.state);
  study.set_reason(record.fault);
  *study.mutable_progress() = record.progress;
  *study.mutable_create_time() = ToProto(record.create_time);
  *study.mutable_update_time() = ToProto(record.update_time);
  if (record.end_time) *study.mutable_end_time() = ToProto(*record.end_time);
  study.set_etag(Etag(record.revision));
  return study;
}

int64_t StudyTable::NextId() const {
  Rows rows = database_.Query("SELECT seq FROM sqlite_sequence WHERE name = 'studies'");
  return rows.Next() ? rows.Int(0) + 1 : 1;
}

void StudyTable::Create(int64_t id, const v1::Study& spec, const StudyTexts& texts,
                        const v1::StudyProgress& progress, WallTime now) {
  database_.Run(
      "INSERT INTO studies(id, submitter, spec, state, fault, progress, revision, create_time, "
      "update_time) VALUES (?, ?, ?, ?, '', ?, 1, ?, ?)",
      id, spec.submitter(), Blob{spec.SerializeAsString()}, int{v1::Study::RUNNING},
      Blob{progress.SerializeAsString()}, Micros(now), Micros(now));
  database_.Run("INSERT INTO study_files(study, study_text, run_text) VALUES (?, ?, ?)", id,
                texts.study, texts.run);
}

StudyRecord StudyTable::Get(int64_t id) const {
  Rows rows = database_.Query(std::string(kSelect) + "WHERE id = ?", id);
  if (!rows.Next()) ThrowNoStudy(id);
  return Read(rows);
}

bool StudyTable::Exists(int64_t id) const {
  return database_.Query("SELECT 1 FROM studies WHERE id = ?", id).Next();
}

StudyTexts StudyTable::Texts(int64_t id) const {
  Rows rows = database_.Query("SELECT study_text, run_text FROM study_files WHERE study = ?", id);
  if (!rows.Next()) ThrowNoStudy(id);
  return {.study = rows.Text(0), .run = rows.Text(1)};
}

void StudyTable::SetState(int64_t id, StudyState state, const std::string& fault, WallTime now) {
  std::optional<int64_t> end;
  if (IsEnded(state)) end = Micros(now);
  database_.Run(
      "UPDATE studies SET state = ?, fault = ?, revision = revision + 1, update_time = ?, "
      "end_time = ? WHERE id = ?",
      int{state}, fault, Micros(now), end, id);
}

void StudyTable::SetProgress(int64_t id, const v1::StudyProgress& progress) {
  database_.Run("UPDATE studies SET progress = ? WHERE id = ?", Blob{progress.SerializeAsString()},
                id);
}

std::vector<int64_t> StudyTable::Open() const {
  std::vector<int64_t> ids;
  Rows rows = database_.Query("SELECT id FROM studies WHERE end_time IS NULL ORDER BY id");
  while (rows.Next()) ids.push_back(rows.Int(0));
  return ids;
}

int64_t StudyTable::CountOpen(const std::optional<std::string>& submitter) const {
  Rows rows = submitter ? database_.Query(
                              "SELECT count(*) FROM studies WHERE end_time IS NULL AND "
                              "submitter = ?",
                              *submitter)
                        : database_.Query("SELECT count(*) FROM studies WHERE end_time IS NULL");
  rows.Next();
  return rows.Int(0);
}

StudyTable::Page StudyTable::List(int64_t before, int count, bool open, int64_t bytes) const {
  Rows rows = database_.Query(
      std::string(kSelect) + "WHERE id < ? AND (end_time IS NULL OR ?) ORDER BY id DESC LIMIT ?",
      before, !open, int64_t{count} + 1);
  Page page;
  int64_t taken = 0;
  while (rows.Next()) {
    constexpr int64_t kRest = 512;
    taken += kRest + static_cast<int64_t>(rows.Bytes(1).size() + rows.Bytes(3).size());
    const auto size = static_cast<int>(page.studies.size());
    if (size == count || (size > 0 && taken > bytes)) {
      page.more = true;
      break;
    }
    page.studies.push_back(Read(rows));
  }
  return page;
}

void StudyTable::Delete(int64_t id) {
  database_.Run("DELETE FROM studies WHERE id = ?", id);
}

std::vector<int64_t> StudyTable::DeleteEndedBefore(WallTime time, int limit) {
  std::vector<int64_t> ids;
  {
    Rows rows = database_.Query(
        "SELECT id FROM studies WHERE end_time IS NOT NULL AND end_time < ? ORDER BY end_time "
        "LIMIT "
        "?",
        Micros(time), limit);
    while (rows.Next()) ids.push_back(rows.Int(0));
  }
  for (const int64_t id : ids) Delete(id);
  return ids;
}

void StudyTable::AddResult(int64_t study, const StudyResult& result) {
  database_.Run(
      "INSERT INTO study_results(study, begin, trial, line, failed, counts) VALUES (?, ?, ?, ?, ?, "
      "1)",
      study, ResultBytes(study), result.trial, Blob{result.line}, result.failed);
}

std::vector<std::string> StudyTable::Results(int64_t study) const {
  std::vector<std::string> lines;
  Rows rows = database_.Query(
      "SELECT line FROM study_results WHERE study = ? AND counts ORDER BY begin", study);
  while (rows.Next()) lines.emplace_back(rows.Bytes(0));
  return lines;
}

int64_t StudyTable::ResultBytes(int64_t study) const {
  Rows rows = database_.Query(
      "SELECT begin + length(line) FROM study_results WHERE study = ? ORDER BY begin DESC LIMIT 1",
      study);
  return rows.Next() ? rows.Int(0) : 0;
}

std::string StudyTable::ReadResults(int64_t study, int64_t offset, int64_t most) const {
  std::string data;
  // From the line that holds the offset on.
  Rows rows = database_.Query(
      "SELECT begin, line FROM study_results WHERE study = ? AND begin >= coalesce((SELECT "
      "max(begin) FROM study_results WHERE study = ? AND begin <= ?), 0) ORDER BY begin",
      study, study, offset);
  while (static_cast<int64_t>(data.size()) < most && rows.Next()) {
    std::string_view line = rows.Bytes(1);
    if (data.empty()) {
      const auto before = static_cast<size_t>(offset - rows.Int(0));
      line.remove_prefix(std::min(before, line.size()));
    }
    data += line.substr(0, static_cast<size_t>(most) - data.size());
  }
  return data;
}

int64_t StudyTable::DropFailed(int64_t study) {
  database_.Run(
      "UPDATE study_jobs SET current = 0 WHERE study = ? AND current AND trial IN (SELECT trial "
      "FROM "
      "study_results WHERE study = ? AND counts AND failed)",
      study, study);
  return database_.Run("UPDATE study_results SET counts = 0 WHERE study = ? AND counts AND failed",
                       study);
}

void StudyTable::AddTrial(int64_t study, const std::string& trial, int64_t job) {
  database_.Run("INSERT INTO study_jobs(job, study, trial, paused, current) VALUES (?, ?, ?, 0, 1)",
                job, study, trial);
}

std::optional<StudyTrial> StudyTable::Trial(int64_t study, const std::string& trial) const {
  Rows rows = database_.Query(std::string(kSelectTrials) + "AND trial = ?", study, trial);
  if (!rows.Next()) return std::nullopt;
  return ReadTrial(rows);
}

std::vector<StudyTrial> StudyTable::Trials(int64_t study) const {
  std::vector<StudyTrial> trials;
  Rows rows = database_.Query(std::string(kSelectTrials) + "ORDER BY job", study);
  while (rows.Next()) trials.push_back(ReadTrial(rows));
  return trials;
}

void StudyTable::SetPaused(int64_t job, bool paused) {
  database_.Run("UPDATE study_jobs SET paused = ? WHERE job = ?", paused, job);
}

std::optional<TrialOfStudy> StudyTable::OfJob(int64_t job) const {
  Rows rows = database_.Query(
      "SELECT study, state, paused FROM study_jobs JOIN studies ON studies.id = study WHERE job = "
      "?",
      job);
  if (!rows.Next()) return std::nullopt;
  return TrialOfStudy{.study = rows.Int(0),
                      .state = static_cast<StudyState>(rows.Int(1)),
                      .paused = rows.Int(2) != 0};
}

bool StudyTable::HoldsPaused(int64_t job) const {
  const std::optional<TrialOfStudy> trial = OfJob(job);
  if (!trial || IsEnded(trial->state)) return false;
  return trial->paused || trial->state == v1::Study::PAUSING || trial->state == v1::Study::PAUSED;
}

}  // namespace syncbn::coordinator
