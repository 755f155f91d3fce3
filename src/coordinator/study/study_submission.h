// What a study must satisfy before it is taken, and how it is read: from the texts that came with
// it, never from a file of this machine.
#pragma once

#include <memory>
#include <string>

#include "coordinator/control/controller.h"
#include "coordinator/service/submission.h"
#include "coordinator/store/study_table.h"
#include "study/outlook.h"
#include "study/plan.h"

namespace syncbn::coordinator {

// Processes of its trials under way, at most: each of them has a thread that waits for its end.
inline constexpr int kMostAtOnce = 256;
// Trials that are known beforehand, at most.
inline constexpr int64_t kMostTrials = 10'000;

// Of a study that was taken. Throws STUDY_FILE_INVALID with all faults, and TOO_LARGE beyond
// kMostTrials.
std::unique_ptr<study::Plan> PlanOf(const v1::Study& study, const StudyTexts& texts);

// The job of a trial, with nothing said of its output folder. `run` is that of the trial.
v1::Job JobOfTrial(const v1::Study& study, int64_t id, const study::Plan& plan,
                   const study::TrialResult& trial, const v1::RunSpec& run, int processes);

struct StudySubmission {
  // For StudyTable::Create: the input fields with their defaults.
  v1::Study spec;
  StudyTexts texts;
  int64_t known_trials = 0;  // before there are results
};

// Throws an ApiError for the first thing that is wrong; of the files, all. A trial of every cell is
// checked as a job of the submitter's would be, folders and places included.
StudySubmission CheckStudy(const v1::Study& study, const std::string& submitter,
                           const SubmissionPolicy& policy, Controller& controller);

}  // namespace syncbn::coordinator
