// Studies in the store, which job each of their trials became, and what that came to. Part of
// Tables (store.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/answer_size.h"
#include "coordinator/job/job_record.h"
#include "coordinator/store/sqlite.h"
#include "syncbn/v1/study_service.pb.h"

namespace syncbn::coordinator {

using StudyState = v1::Study::State;

struct StudyRecord {
  int64_t id = 0;
  // What was asked for: the input fields of syncbn.v1.Study with defaults filled in, display_name
  // and submitter, but without the texts of the files, which are kept apart.
  v1::Study spec;
  StudyState state = v1::Study::RUNNING;
  // Why it is FAILED, or will be when its jobs have ended.
  std::string fault;
  v1::StudyProgress progress;
  // Grows with every change of the state; the etag.
  int64_t revision = 0;
  WallTime create_time, update_time;
  std::optional<WallTime> end_time;
};

struct StudyTexts {
  std::string study, run;  // as their user wrote them
};

// "studies/17", and its inverse: FIELD_INVALID for what is no such name.
std::string StudyName(int64_t id);
int64_t ParseStudyName(std::string_view name);

// Where its trials write, below the output root of the coordinator.
std::filesystem::path StudyOutput(const std::filesystem::path& output_root, int64_t study);

bool IsEnded(StudyState state);

// As the API shows it, without the texts.
v1::Study ToProto(const StudyRecord& record);

// A trial that has become a job.
struct StudyTrial {
  std::string trial;  // its digest
  int64_t job = 0;
  // The study has paused its job, and resumes it.
  bool paused = false;
  // Of the job; nothing: it has been deleted.
  std::optional<JobState> state;
};

// What a trial came to.
struct StudyResult {
  std::string trial;  // its digest
  std::string line;   // of results.jsonl, with its end
  bool failed = false;
};

// Whose trial a job is, of a study that is there; also one that the study has replaced by another.
struct TrialOfStudy {
  int64_t study = 0;
  StudyState state = v1::Study::RUNNING;  // of the study
  bool paused = false;                    // the study has paused the job
};

class StudyTable {
 public:
  explicit StudyTable(Database& database) : database_(database) {}

  // The number that Create gives next. Numbers grow and are never given twice.
  int64_t NextId() const;
  // In RUNNING. `id` is NextId() or larger.
  void Create(int64_t id, const v1::Study& spec, const StudyTexts& texts,
              const v1::StudyProgress& progress, WallTime now);

  // NOT_FOUND (STUDY_NOT_FOUND) if there is none.
  StudyRecord Get(int64_t id) const;
  bool Exists(int64_t id) const;
  StudyTexts Texts(int64_t id) const;

  void SetState(int64_t id, StudyState state, const std::string& fault, WallTime now);
  // No new etag.
  void SetProgress(int64_t id, const v1::StudyProgress& progress);

  // The numbers of all that have not ended, ascending.
  std::vector<int64_t> Open() const;
  // How many have not ended, of one submitter or of all.
  int64_t CountOpen(const std::optional<std::string>& submitter) const;
  // Newest first: those before `before`, `count` at most, and so many bytes, of which one always
  // fits.
  struct Page {
    std::vector<StudyRecord> studies;
    bool more = false;
  };
  Page List(int64_t before, int count, bool open, int64_t bytes = kMostAnswer) const;

  // With its trials; what became of their jobs is the jobs' own.
  void Delete(int64_t id);
  // Up to `limit` of those that ended before; returns their numbers.
  std::vector<int64_t> DeleteEndedBefore(WallTime time, int limit);

  // The result of a trial that has none that counts. To be written with the progress.
  void AddResult(int64_t study, const StudyResult& result);
  // The lines that count, in the order in which they came.
  std::vector<std::string> Results(int64_t study) const;
  // Of all lines, one after another: how many bytes, and those from `offset` on, `most` at most.
  int64_t ResultBytes(int64_t study) const;
  std::string ReadResults(int64_t study, int64_t offset, int64_t most) const;
  // Results of trials that failed count no more, and their trials are no jobs any more; how many.
  int64_t DropFailed(int64_t study);

  // A trial has become this job. It must not be one now.
  void AddTrial(int64_t study, const std::string& trial, int64_t job);
  std::optional<StudyTrial> Trial(int64_t study, const std::string& trial) const;
  std::vector<StudyTrial> Trials(int64_t study) const;
  void SetPaused(int64_t job, bool paused);
  // Nothing: the job is no study's.
  std::optional<TrialOfStudy> OfJob(int64_t job) const;
  // Whether the job is PAUSED because its study is, and so for as long as that.
  bool HoldsPaused(int64_t job) const;

 private:
  Database& database_;
};

}  // namespace syncbn::coordinator
