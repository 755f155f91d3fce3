// Jobs in the store, with their history. Part of Tables (store.h): used inside a read or a write.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/answer_size.h"
#include "coordinator/job/job_filter.h"
#include "coordinator/job/job_record.h"
#include "coordinator/store/change_feed.h"
#include "coordinator/store/sqlite.h"

namespace syncbn::coordinator {

// Who did what and why; written with every transition.
struct TransitionCause {
  std::string actor;   // a token's name, "scheduler", "timer", "launcher", "workers", "startup"
  std::string event;   // "CREATE", or EventName
  std::string reason;  // for people; may be empty
};

struct RunFileText {
  std::string text;       // as its user wrote it
  std::string effective;  // with all defaults and the origin of every value
};

// What a list may hold at most; one job always fits.
struct PageLimits {
  int jobs = 50;
  int64_t bytes = kMostAnswer;  // of what was asked for and came of it, as it is stored
  bool run_files = false;       // they are in the page, and count
};

struct JobPage {
  std::vector<JobRecord> jobs;
  std::vector<RunFileText> run_files;  // of each job, where they were asked for
  std::string next_page_token;         // empty at the end
};

// What a job keeps in the store, in bytes.
int64_t BytesOf(const v1::Job& spec, const RunFileText& run_file);

// What the jobs of one submitter take.
struct JobUse {
  int64_t open = 0;   // have not ended
  int64_t bytes = 0;  // of all in the store
};

class JobTable {
 public:
  // Appends to `changes` (none in a read) what watchers should look at.
  JobTable(Database& database, std::vector<Change>* changes)
      : database_(database), changes_(changes) {}

  // The number that Create gives next. Numbers grow and are never given twice.
  int64_t NextId() const;
  // Adds a job and the first entry of its history; returns its number, which is `id` (NextId() or
  // larger) where that is given.
  int64_t Create(const v1::Job& spec, const RunFileText& run_file, const JobStatus& status,
                 const TransitionCause& cause, WallTime now,
                 std::optional<int64_t> id = std::nullopt);

  // NOT_FOUND if there is none.
  JobRecord Get(int64_t id) const;
  RunFileText RunFile(int64_t id) const;

  // Stores a new status, and the transition that led to it in the history.
  void Update(int64_t id, const JobStatus& next, const TransitionCause& transition_cause,
              WallTime now);
  // Replaces what was asked for (new resources; hosts that may hold processes).
  void UpdateSpec(int64_t id, const v1::Job& spec);
  // Where it is; no transition, no new etag.
  void UpdateProgress(int64_t id, const v1::Progress& progress);

  // All that have not ended, oldest first.
  std::vector<JobRecord> Open() const;
  // Newest first. INVALID_ARGUMENT for a page token that is not of this filter.
  JobPage List(const JobFilter& filter, const PageLimits& limits,
               const std::string& page_token) const;
  bool Matches(int64_t id, const JobFilter& filter) const;
  int64_t Count() const;
  JobUse UseOf(const std::string& submitter) const;

  // Forgets a job that has ended; the last entry of its history says so. Its points go later
  // (retention.h).
  void Delete(int64_t id, const TransitionCause& cause, WallTime now);

  // The history after entry `after`, oldest first, of one job or of all.
  std::vector<v1::Transition> History(std::optional<int64_t> job, int64_t after, int limit) const;
  // The newest entry's number; 0 while there is none.
  int64_t NewestTransition() const;
  // Entries up to this number may be gone: a watch cannot go on from before it.
  int64_t ForgottenTransitions() const;

 private:
  Rows Select(std::string_view rest) const;
  void AddTransition(int64_t id, int attempt, JobState from, JobState to, DesiredState desired,
                     const TransitionCause& cause, WallTime now);
  void Touch(int64_t id);

  Database& database_;
  std::vector<Change>* changes_;
};

}  // namespace syncbn::coordinator
