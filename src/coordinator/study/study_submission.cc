#include "coordinator/study/study_submission.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "base/text.h"
#include "coordinator/api_error.h"
#include "coordinator/service/status.h"
#include "coordinator/study/trial_labels.h"
#include "data/dataset_files.h"
#include "study/measures.h"
#include "study/trial/trial_folder.h"

namespace syncbn::coordinator {
namespace {

constexpr const char* kInvalid = "STUDY_FILE_INVALID";
// Trials at once where nobody says how many, and a batch system has the hosts.
constexpr int kUsualAtOnce = 16;

std::string NameOr(const std::string& name, const char* other) {
  return name.empty() ? other : name;
}

std::vector<std::string> OverridesOf(const v1::Study& study) {
  return {study.overrides().begin(), study.overrides().end()};
}

study::StudyFile ReadStudy(const v1::Study& study, const StudyTexts& texts,
                           study::StudyOrigin origin) {
  const auto read_run = [&](const std::string& path) -> study::NamedText {
    if (texts.run.empty()) {
      throw Error(ErrorCode::kInvalidArgument,
                  "the run file " + path + " has not come with the study");
    }
    return {.name = NameOr(study.run_file_name(), "run file"), .text = texts.run};
  };
  return study::ParseStudyText(texts.study, NameOr(study.study_file_name(), "study file"), read_run,
                               OverridesOf(study), study.form(), origin);
}

// Before anything is made of them.
void CheckSize(const study::StudyFile& file) {
  auto trials =
      static_cast<int64_t>(std::max({file.seeds.size(), file.tuning_grid.size(), size_t{1}}));
  for (const study::Axis& axis : file.axes) {
    trials *= static_cast<int64_t>(axis.levels.size());
    if (trials <= kMostTrials) continue;
    throw ApiError(ErrorCode::kInvalidArgument, "TOO_LARGE",
                   file.source->name() + ": the study has more than " +
                       std::to_string(kMostTrials) +
                       " trials, combinations that are skipped among them; at most so many are "
                       "allowed: make several studies of it",
                   {{"limit", std::to_string(kMostTrials)}});
  }
}

int DefaultAtOnce(const study::StudyFile& file, const v1::Resources& resources,
                  const Controller& controller) {
  if (file.spec.at_once() > kMostAtOnce) {
    ThrowFieldInvalid("at_once", "at_once of the study is " + std::to_string(file.spec.at_once()) +
                                     "; on a coordinator it can be 1 to " +
                                     std::to_string(kMostAtOnce) + ": say how many (--at-once)");
  }
  if (file.spec.at_once() > 0) return file.spec.at_once();
  int slots = 0;
  for (const Controller::HostView& host : controller.Hosts()) slots += host.capacity.slots;
  if (slots == 0) return kUsualAtOnce;
  return std::clamp(slots / std::max(1, resources.threads_per_process()), 1, kMostAtOnce);
}

void CheckFieldsOf(const v1::Study& study, const SubmissionPolicy& policy) {
  if (study.study_file().empty()) ThrowFieldInvalid("study_file", "study_file is empty");
  CheckFileSize("the study file", study.study_file(), policy);
  CheckFileSize("the run file", study.run_file(), policy);
  CheckText("study_file_name", study.study_file_name(), 255);
  CheckText("run_file_name", study.run_file_name(), 255);
  CheckText("form", study.form(), 128);
  CheckOverrides(OverridesOf(study));
  CheckText("data_folder", study.data_folder(), 3 * 1024);
  if (!study.data_folder().empty() && !std::filesystem::path(study.data_folder()).is_absolute()) {
    ThrowFieldInvalid("data_folder",
                      "data_folder '" + study.data_folder() + "' must be an absolute path");
  }
  if (study.at_once() > kMostAtOnce) {
    ThrowFieldInvalid("at_once", "at_once is " + std::to_string(study.at_once()) +
                                     "; it can be 1 to " + std::to_string(kMostAtOnce));
  }
  if (study.resources().processes() != 0) {
    throw ApiError(ErrorCode::kInvalidArgument, "RESOURCES_INVALID",
                   "processes of trials are the study file's to say: its key `processes`, under "
                   "`set` or as an axis");
  }
}

// Absolute, where it can be.
std::string DataPathOf(const v1::Study& study, const v1::RunSpec& run) {
  const std::filesystem::path data = run.data().path();
  if (data.empty() || data.is_absolute() || study.data_folder().empty()) return data;
  return (study.data_folder() / data).lexically_normal();
}

// That the files of a data set are there, as far as this machine can know. Looks at the file
// system.
void CheckDataIsThere(const v1::DataSpec& data, bool runs_here) {
  std::error_code error;
  const std::string& path = data.path();
  if (!path.empty() && !runs_here && !std::filesystem::is_directory(path, error)) return;
  NowAccessing("data.path " + path);
  try {
    data::CheckDatasetFiles(data);
  } catch (const Error& missing) {
    ThrowFieldInvalid("data.path", missing.message());
  }
}

// Times that are measured here are perhaps not the trials' own.
void CheckTimes(const study::StudyFile& file, v1::Study& spec) {
  for (const std::string& measure : study::AskedMeasures(file.spec)) {
    if (!study::IsTime(measure)) continue;
    if (spec.at_once() != 1) {
      ThrowFieldInvalid("at_once", "at_once is " + std::to_string(spec.at_once()) +
                                       ", but the study asks for " + measure +
                                       ", and times of trials that go on side by side are not "
                                       "theirs: it must be 1");
    }
    spec.add_notes(
        "the study asks for " + measure +
        ": its trials run one after another, but jobs that are not of this study may run "
        "on the same host at the same time, and such times are not the trials' own; keep "
        "its hosts free of others, or measure with 'syncbn study run'");
    return;
  }
}

std::unique_ptr<study::Plan> MakePlan(const v1::Study& study, const StudyTexts& texts,
                                      study::StudyOrigin origin) {
  try {
    study::StudyFile file = ReadStudy(study, texts, origin);
    CheckSize(file);
    return std::make_unique<study::Plan>(std::move(file));
  } catch (const study::StudyFileError& error) {
    throw RunFileError(error.diagnostics(), error.name(), kInvalid);
  } catch (const ApiError&) {
    throw;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalidArgument) throw;
    throw ApiError(error.code(), kInvalid, error.message());
  }
}

}  // namespace

std::unique_ptr<study::Plan> PlanOf(const v1::Study& study, const StudyTexts& texts) {
  return MakePlan(study, texts, study::StudyOrigin::kStored);
}

v1::Job JobOfTrial(const v1::Study& study, int64_t id, const study::Plan& plan,
                   const study::TrialResult& trial, const v1::RunSpec& run, int processes) {
  v1::RunSpec own = run;
  own.set_name(plan.file().spec.name());
  if (own.has_data()) own.mutable_data()->set_path(DataPathOf(study, run));
  v1::Job job;
  job.set_run_file(study::RunFileOfTrial(own));
  job.set_run_file_name(plan.file().spec.name() + "-" + trial.id + ".yaml");
  *job.mutable_resources() = study.resources();
  job.mutable_resources()->set_processes(processes);
  *job.mutable_labels() = study.labels();
  for (const auto& [key, value] : TrialLabels(id, plan, trial))
    (*job.mutable_labels())[key] = value;
  return job;
}

StudySubmission CheckStudy(const v1::Study& study, const std::string& submitter,
                           const SubmissionPolicy& policy, Controller& controller) {
  CheckFieldsOf(study, policy);
  StudySubmission submission{.texts = {.study = study.study_file(), .run = study.run_file()}};
  const std::unique_ptr<study::Plan> plan =
      MakePlan(study, submission.texts, study::StudyOrigin::kNew);
  v1::Study& spec = submission.spec;
  spec.set_display_name(plan->file().spec.name());
  spec.set_study_file_name(NameOr(study.study_file_name(), "study file"));
  spec.set_run_file_name(study.run_file_name());
  *spec.mutable_overrides() = study.overrides();
  spec.set_form(study.form());
  *spec.mutable_resources() = study.resources();
  *spec.mutable_labels() = study.labels();
  spec.set_data_folder(study.data_folder());
  spec.set_submitter(submitter);
  spec.set_at_once(study.at_once() > 0
                       ? study.at_once()
                       : DefaultAtOnce(plan->file(), study.resources(), controller));
  CheckTimes(plan->file(), spec);
  CheckLabelsBeside({study.labels().begin(), study.labels().end()}, plan->file());
  submission.known_trials = static_cast<int64_t>(plan->FirstTrials().size());
  // One of every cell; the others of it differ in the seed and in what is tuned.
  std::set<size_t> cells;
  std::set<std::pair<std::string, std::string>> seen;
  for (const study::Trial& trial : plan->FirstTrials()) {
    if (!cells.insert(trial.cell).second) continue;
    const v1::RunSpec run = plan->RunOf(trial);
    const v1::Job job = JobOfTrial(spec, 0, *plan, {.trial = trial, .id = plan->IdOf(trial)}, run,
                                   plan->ProcessesOf(trial));
    const Submission one = CheckSubmission(job, submitter, policy);
    v1::DataSpec data = run.data();
    data.set_path(one.inputs.data);
    if (seen.insert({data.SerializeAsString(), one.inputs.weights}).second) {
      controller.file_system().Run("the folders of the study", [data, inputs = one.inputs, policy] {
        CheckInputPaths(inputs, policy);
        CheckDataIsThere(data, policy.runs_here);
      });
    }
    controller.Submit(one.spec, one.run_file, {.key = {.actor = submitter}, .validate_only = true});
  }
  return submission;
}

}  // namespace syncbn::coordinator
