#include "coordinator/study/trial_jobs.h"

#include <set>

#include "coordinator/api_error.h"
#include "coordinator/study/job_signal.h"
#include "coordinator/study/study_submission.h"
#include "study/trial/trial_folder.h"

namespace syncbn::coordinator {
namespace {

namespace fs = std::filesystem;

// The study is no longer RUNNING.
struct MovedOn {};

std::string ReasonOf(const Error& error) {
  const auto* api = dynamic_cast<const ApiError*>(&error);
  return api == nullptr ? "" : api->reason();
}

// Of what was asked for, which no time changes.
bool IsRefusedForGood(const Error& error) {
  static const std::set<std::string> kReasons = {"RUN_FILE_INVALID", "RESOURCES_INVALID",
                                                 "FIELD_INVALID", "TOO_LARGE"};
  return kReasons.contains(ReasonOf(error));
}

bool HasDiverged(const JobStatus& status) {
  return status.failure && status.failure->failure_class == FailureClass::kDiverged;
}

}  // namespace

bool IsPassing(const Error& error) {
  static const std::set<std::string> kReasons = {"NEVER_FITS", "NOT_ALLOWED_PATH",
                                                 "OUTPUT_FOLDER_TAKEN"};
  return error.code() == ErrorCode::kUnavailable || error.code() == ErrorCode::kResourceExhausted ||
         error.code() == ErrorCode::kDeadlineExceeded || kReasons.contains(ReasonOf(error));
}

study::TrialRecord FailedTrial(const std::string& reason, const std::string& by) {
  study::TrialRecord record;
  record.end = study::TrialEnd::kFailed;
  record.reason = reason;
  record.by = by;
  return record;
}

fs::path TrialJobs::FolderOf(const std::string& trial) const {
  return StudyOutput(options_.submission.output_root, study_.id) / trial;
}

std::optional<study::TrialRecord> TrialJobs::Run(const study::TrialResult& trial,
                                                 const v1::RunSpec& run, int processes,
                                                 std::stop_token stop) {
  bool waited = false;
  while (!stop.stop_requested()) {
    try {
      const std::optional<StudyTrial> known = options_.store->Read(
          [&](Tables& tables) { return tables.studies.Trial(study_.id, trial.id); });
      if (!known) {
        if (auto refused = Submit(trial, run, processes)) return refused;
        if (waited) options_.on_wait("");
        waited = false;
        continue;
      }
      return Await(*known, run, stop);
    } catch (const MovedOn&) {
      return std::nullopt;
    } catch (const Error& error) {
      if (!IsPassing(error)) throw;
      waited = true;
      options_.on_wait(error.message());
      RestUnlessStopped(options_.pause, stop);
    }
  }
  return std::nullopt;
}

std::optional<study::TrialRecord> TrialJobs::Submit(const study::TrialResult& trial,
                                                    const v1::RunSpec& run, int processes) {
  try {
    Submission submission =
        CheckSubmission(JobOfTrial(study_.spec, study_.id, plan_, trial, run, processes),
                        study_.spec.submitter(), options_.submission);
    const fs::path folder = options_.controller->file_system().Run(
        "the folders of a trial",
        [folder = FolderOf(trial.id), inputs = submission.inputs, policy = options_.submission] {
          CheckInputPaths(inputs, policy);
          NowAccessing("the output folder " + folder.string());
          // One that a coordinator has left whose store is no longer this one's is not gone on
          // with.
          fs::path free = folder;
          for (int i = 2; fs::exists(free); ++i) free = folder.string() + "-" + std::to_string(i);
          return free;
        });
    submission.spec.set_output_folder(folder.string());
    options_.controller->Submit(submission.spec, submission.run_file,
                                {.key = {.actor = StudyName(study_.id)}},
                                [&](Tables& tables, int64_t job) {
                                  if (tables.studies.Get(study_.id).state != v1::Study::RUNNING)
                                    throw MovedOn();
                                  tables.studies.AddTrial(study_.id, trial.id, job);
                                });
  } catch (const ApiError& error) {
    if (!IsRefusedForGood(error)) throw;
    return FailedTrial(error.message(), options_.by);
  }
  return std::nullopt;
}

std::optional<study::TrialRecord> TrialJobs::Await(StudyTrial trial, const v1::RunSpec& run,
                                                   const std::stop_token& stop) {
  JobSignal signal(*options_.store, trial.job);
  while (!stop.stop_requested()) {
    std::optional<JobRecord> job;
    try {
      job = options_.store->Read([&](Tables& tables) { return tables.jobs.Get(trial.job); });
    } catch (const ApiError& error) {
      if (error.code() != ErrorCode::kNotFound) throw;
      return FailedTrial(JobName(trial.job) + " was deleted before its result was taken",
                         options_.by);
    }
    if (IsEnded(job->status.state)) return RecordOf(*job, run);
    if (trial.paused) Resume(trial, job->status.state);
    signal.Wait(stop);
  }
  return std::nullopt;
}

void TrialJobs::Resume(StudyTrial& trial, JobState state) {
  if (state == JobState::kPausing) return;
  if (state == JobState::kPaused) {
    try {
      options_.controller->Act(trial.job, {.verb = EventKind::kResume},
                               {.key = {.actor = StudyName(study_.id)}});
    } catch (const ApiError& error) {
      // Somebody was faster.
      if (error.reason() != "WRONG_STATE") throw;
    }
  }
  options_.store->Write([&](Tables& tables) { tables.studies.SetPaused(trial.job, false); });
  trial.paused = false;
}

study::TrialRecord TrialJobs::RecordOf(const JobRecord& job, const v1::RunSpec& run) const {
  const JobStatus& status = job.status;
  const std::string name = JobName(job.id);
  if (status.state == JobState::kCancelled) {
    return FailedTrial(name + " was cancelled", options_.by);
  }
  if (status.state == JobState::kFailed && !HasDiverged(status)) {
    return FailedTrial(name + ": " + (status.failure ? status.failure->message : "it failed"),
                       options_.by);
  }
  const fs::path out = job.spec.output_folder();
  try {
    return options_.controller->file_system().Run("the output folder " + out.string(), [out, run] {
      return study::ReadTrialFolder(out, run);
    });
  } catch (const Error& error) {
    if (IsPassing(error)) throw;
    return FailedTrial(name + " has ended, but its result cannot be read: " + error.message(),
                       options_.by);
  }
}

void TrialJobs::RemoveOutput(const std::string& trial) const {
  const fs::path folder = FolderOf(trial);
  options_.controller->file_system().Run("the output folder " + folder.string(), [folder] {
    std::error_code ignored;
    fs::path one = folder;
    for (int i = 2; fs::exists(one, ignored); ++i) {
      fs::remove_all(one, ignored);
      one = folder.string() + "-" + std::to_string(i);
    }
  });
}

}  // namespace syncbn::coordinator
