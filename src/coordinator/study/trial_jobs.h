// The trials of one study as jobs: each is submitted once (one that failed is run anew by its
// user's wish, as another job), waited for without asking again and again, and its record made of
// what it left in its output folder.
//
// Which job a trial has become is stored in the write that makes the job: whoever runs the trial
// again, after a death at any moment, finds that job.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "coordinator/control/controller.h"
#include "coordinator/service/submission.h"
#include "coordinator/store/study_table.h"
#include "study/executor.h"

namespace syncbn::coordinator {

// An obstacle that passes, or that somebody removes: a full quota, a file system that does not
// answer, a cluster in which the job has no place. Everything else is the study's own.
bool IsPassing(const Error& error);

// A result, too.
study::TrialRecord FailedTrial(const std::string& reason, const std::string& by);

// Thread-safe.
class TrialJobs final : public study::TrialRunner {
 public:
  struct Options {
    Store* store = nullptr;
    Controller* controller = nullptr;
    SubmissionPolicy submission;
    // What this program computes with, for records of what could not be run.
    std::string by;
    // Before an obstacle is met once more.
    std::chrono::milliseconds pause = std::chrono::seconds(5);
    // Told what holds up a trial; empty: nothing any more.
    std::function<void(const std::string& why)> on_wait = [](const std::string&) {};
  };

  // `study` and `plan` outlive it.
  TrialJobs(const StudyRecord& study, const study::Plan& plan, Options options)
      : study_(study), plan_(plan), options_(std::move(options)) {}

  // Nothing: it was stopped, or the study is no longer RUNNING; the job stays as it is then. A job
  // that was cancelled or deleted is a record of kFailed.
  std::optional<study::TrialRecord> Run(const study::TrialResult& trial, const v1::RunSpec& run,
                                        int processes, std::stop_token stop) override;
  // Of a job that has ended. Throws what passes.
  study::TrialRecord RecordOf(const JobRecord& job, const v1::RunSpec& run) const;
  // What the trial has written.
  void RemoveOutput(const std::string& trial) const;

 private:
  // Nothing: it is a job now.
  std::optional<study::TrialRecord> Submit(const study::TrialResult& trial, const v1::RunSpec& run,
                                           int processes);
  std::optional<study::TrialRecord> Await(StudyTrial trial, const v1::RunSpec& run,
                                          const std::stop_token& stop);
  // Of a job that the study has paused: it goes on.
  void Resume(StudyTrial& trial, JobState state);
  std::filesystem::path FolderOf(const std::string& trial) const;

  const StudyRecord& study_;
  const study::Plan& plan_;
  const Options options_;
};

}  // namespace syncbn::coordinator
