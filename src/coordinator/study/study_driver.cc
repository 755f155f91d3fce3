#include "coordinator/study/study_driver.h"

#include <google/protobuf/util/time_util.h>

#include <cmath>
#include <set>

#include "coordinator/api_error.h"
#include "coordinator/study/job_signal.h"
#include "coordinator/study/study_submission.h"
#include "study/outlook.h"
#include "study/rule_log.h"
#include "study/study_folder.h"

namespace syncbn::coordinator {
namespace {

namespace fs = std::filesystem;

RequestInfo AsStudy(int64_t study) {
  return {.key = {.actor = StudyName(study)}};
}

// "batch 32, norm BN, seed 3"
std::string DescriptionOf(const study::Plan& plan, const study::Trial& trial) {
  const std::string cell = plan.Describe(plan.cells()[trial.cell]);
  return cell + (cell.empty() ? "" : ", ") + "seed " + std::to_string(trial.seed);
}

// Whether a job is as the verb wants it, or on the way there.
bool Obeys(JobState state, EventKind verb) {
  if (state == JobState::kCancelling) return true;
  return verb == EventKind::kPause && (state == JobState::kPausing || state == JobState::kPaused);
}

bool IsSettled(JobState state, EventKind verb) {
  return IsEnded(state) || (verb == EventKind::kPause && state == JobState::kPaused);
}

}  // namespace

fs::path StudyFolder(const Store& store, int64_t study) {
  return store.folder() / StudyName(study);
}

fs::path StudyOutput(const SubmissionPolicy& policy, int64_t study) {
  return policy.output_root / ("study-" + std::to_string(study));
}

StudyDriver::StudyDriver(int64_t study, StudyOptions options)
    : id_(study), options_(std::move(options)), thread_([this] { Loop(); }) {}

StudyDriver::~StudyDriver() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  Wake();
  thread_.join();
}

void StudyDriver::Wake() {
  std::stop_source turn;
  {
    std::lock_guard lock(mutex_);
    turn = turn_;
  }
  turn.request_stop();
}

bool StudyDriver::done() const {
  std::lock_guard lock(mutex_);
  return done_;
}

void StudyDriver::AddTo(v1::Study& study) const {
  std::lock_guard lock(mutex_);
  if (done_ || IsEnded(study.state())) return;
  if (progress_) *study.mutable_progress() = *progress_;
  if (study.reason().empty()) study.set_reason(note_);
}

void StudyDriver::Loop() {
  while (true) {
    std::stop_token turn;
    {
      std::lock_guard lock(mutex_);
      if (ending_) break;
      // Whoever changes the state from here on ends this turn.
      turn_ = std::stop_source();
      turn = turn_.get_token();
    }
    try {
      const StudyRecord study =
          options_.store->Read([&](Tables& tables) { return tables.studies.Get(id_); });
      if (IsEnded(study.state)) break;
      Step(study, turn);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kNotFound) break;
      Meet(error, turn);
    } catch (const std::exception& error) {
      Meet(Error(ErrorCode::kResourceExhausted, error.what()), turn);
    }
  }
  Close();
  std::lock_guard lock(mutex_);
  done_ = true;
}

void StudyDriver::Step(const StudyRecord& study, const std::stop_token& turn) {
  switch (study.state) {
    case v1::Study::RUNNING:
      Open(study);
      return Execute(study, turn);
    case v1::Study::PAUSING:
      if (Settle(study, EventKind::kPause, turn)) {
        // Some jobs have ended instead; nobody waits for them until the study goes on.
        Harvest(study);
        Move(v1::Study::PAUSING, v1::Study::PAUSED, study.fault);
      }
      return;
    case v1::Study::CANCELLING:
      if (!Settle(study, EventKind::kCancel, turn)) return;
      Harvest(study);
      return Move(v1::Study::CANCELLING,
                  study.fault.empty() ? v1::Study::CANCELLED : v1::Study::FAILED, study.fault);
    default: {
      Close();
      SetNote("");
      std::mutex mutex;
      std::condition_variable_any changed;
      std::unique_lock lock(mutex);
      changed.wait(lock, turn, [] { return false; });
    }
  }
}

void StudyDriver::Open(const StudyRecord& study) {
  if (log_) return;
  const StudyTexts texts =
      options_.store->Read([&](Tables& tables) { return tables.studies.Texts(id_); });
  plan_ = PlanOf(study.spec, texts);
  const fs::path folder = StudyFolder(*options_.store, id_);
  fs::create_directories(folder);
  study::StoreStudy(
      folder, plan_->file(),
      std::vector<std::string>(study.spec.overrides().begin(), study.spec.overrides().end()));
  log_ = std::make_unique<study::ResultLog>(folder / study::kResultsFile);
  study::NoteRules(folder / study::kRulesFile, plan_->file().spec,
                   static_cast<int64_t>(log_->results().size()),
                   google::protobuf::util::TimeUtil::ToString(ToProto(study.create_time)));
  v1::StudyProgress progress;
  {
    std::lock_guard lock(mutex_);
    progress_ = progress;
  }
  const study::Outlook outlook(*plan_, log_->results());
  std::set<std::string> counted;
  for (const study::TrialResult& one : outlook.trials()) {
    if (one.record == nullptr || !counted.insert(one.id).second) continue;
    Count(one.id, *one.record, DescriptionOf(*plan_, one.trial));
  }
  std::lock_guard lock(mutex_);
  progress_->set_known(static_cast<int64_t>(outlook.trials().size()));
  for (const study::TrialResult& one : outlook.trials()) {
    if (one.record != nullptr) progress_->set_done(progress_->done() + 1);
  }
}

void StudyDriver::Close() {
  log_.reset();
  plan_.reset();
  std::lock_guard lock(mutex_);
  progress_.reset();
}

TrialJobs StudyDriver::MakeJobs(const StudyRecord& study) {
  return {study,
          *plan_,
          {.store = options_.store,
           .controller = options_.controller,
           .submission = options_.submission,
           .by = options_.by,
           .pause = options_.pause,
           .on_wait = [this](const std::string& why) { SetNote(why); }}};
}

void StudyDriver::Execute(const StudyRecord& study, const std::stop_token& turn) {
  TrialJobs jobs = MakeJobs(study);
  RemoveOutputs(jobs);
  std::set<std::string> begun;
  for (const StudyTrial& trial :
       options_.store->Read([&](Tables& tables) { return tables.studies.Trials(id_); })) {
    begun.insert(trial.trial);
  }
  SetNote("");
  const bool complete = study::Execute(
      *plan_, *log_, jobs,
      {.at_once = study.spec.at_once(),
       .stop = turn,
       .first = std::move(begun),
       .on_progress = [&](const study::Progress& progress, const study::TrialResult* ended) {
         {
           std::lock_guard lock(mutex_);
           progress_->set_known(progress.known);
           progress_->set_done(progress.done);
           progress_->set_running(progress.running);
         }
         if (ended != nullptr) OnEnded(jobs, *ended);
       }});
  if (!complete) return;
  // Of a result that was kept by one that was killed before it could count it.
  StoreProgress();
  Move(v1::Study::RUNNING, v1::Study::SUCCEEDED, "");
}

void StudyDriver::StoreProgress() {
  v1::StudyProgress progress;
  {
    std::lock_guard lock(mutex_);
    progress = *progress_;
  }
  progress.clear_running();
  options_.store->Write([&](Tables& tables) { tables.studies.SetProgress(id_, progress); });
}

// Its result is kept by now.
void StudyDriver::OnEnded(TrialJobs& jobs, const study::TrialResult& ended) {
  Count(ended.id, *ended.record, DescriptionOf(*plan_, ended.trial));
  StoreProgress();
  if (ended.record->end == study::TrialEnd::kFailed) return;
  try {
    jobs.RemoveOutput(ended.id);
  } catch (const Error& error) {
    // It stays until the study goes on anew, or is deleted.
    options_.log(StudyName(id_) + ": " + error.message());
  }
}

void StudyDriver::Count(const std::string& id, const study::TrialRecord& record,
                        const std::string& what) {
  std::lock_guard lock(mutex_);
  if (record.end == study::TrialEnd::kFailed) progress_->set_failed(progress_->failed() + 1);
  if (record.end == study::TrialEnd::kDiverged) progress_->set_diverged(progress_->diverged() + 1);
  if (record.end != study::TrialEnd::kFinished || record.test.empty()) return;
  const double accuracy = record.test.back().accuracy;
  if (!std::isfinite(accuracy)) return;
  if (progress_->has_best() && progress_->best().test_accuracy() >= accuracy) return;
  v1::BestTrial& best = *progress_->mutable_best();
  best.set_trial(id);
  best.set_description(what);
  best.set_test_accuracy(accuracy);
}

bool StudyDriver::Settle(const StudyRecord& study, EventKind verb, const std::stop_token& turn) {
  JobSignal signal(*options_.store, std::nullopt);
  while (!turn.stop_requested()) {
    bool settled = true;
    for (const StudyTrial& trial :
         options_.store->Read([&](Tables& tables) { return tables.studies.Trials(study.id); })) {
      if (!trial.state || IsSettled(*trial.state, verb)) continue;
      settled = false;
      if (Obeys(*trial.state, verb)) continue;
      if (verb == EventKind::kPause) {
        options_.store->Write(
            [&](Tables& tables) { tables.studies.SetPaused(study.id, trial.trial, true); });
      }
      try {
        options_.controller->Act(trial.job, {.verb = verb, .reason = "with its study"},
                                 AsStudy(study.id));
      } catch (const ApiError& error) {
        // It has ended meanwhile, or was deleted.
        if (error.reason() != "WRONG_STATE" && error.code() != ErrorCode::kNotFound) throw;
      }
    }
    if (settled) return true;
    signal.Wait(turn);
  }
  return false;
}

void StudyDriver::Harvest(const StudyRecord& study) {
  try {
    Open(study);
    TrialJobs jobs = MakeJobs(study);
    const std::map<std::string, study::TrialRecord> before = log_->results();
    const study::Outlook outlook(*plan_, before);
    for (const study::TrialResult& one : outlook.trials()) {
      if (log_->Find(one.id) != nullptr) continue;
      const std::optional<StudyTrial> trial = options_.store->Read(
          [&](Tables& tables) { return tables.studies.Trial(study.id, one.id); });
      if (!trial || !trial->state || !IsEnded(*trial->state)) continue;
      if (*trial->state == JobState::kCancelled) continue;  // its study, or a user
      const JobRecord job =
          options_.store->Read([&](Tables& tables) { return tables.jobs.Get(trial->job); });
      log_->Add(one.id, jobs.RecordOf(job, plan_->RunOf(one.trial)));
      {
        std::lock_guard lock(mutex_);
        progress_->set_done(progress_->done() + 1);
      }
      OnEnded(jobs, {.trial = one.trial, .id = one.id, .record = log_->Find(one.id)});
    }
  } catch (const Error& error) {
    if (IsPassing(error)) throw;
    // It ends all the same.
    options_.log(StudyName(id_) + ": " + error.message());
  }
}

void StudyDriver::RemoveOutputs(TrialJobs& jobs) {
  const fs::path folder = StudyOutput(options_.submission, id_);
  std::set<std::string> there;
  try {
    there =
        options_.controller->file_system().Run("the output folder " + folder.string(), [folder] {
          std::set<std::string> names;
          std::error_code error;
          for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
            names.insert(entry.path().filename());
          }
          return names;
        });
    for (const std::string& name : there) {
      const study::TrialRecord* record = log_->Find(name);
      if (record != nullptr && record->end != study::TrialEnd::kFailed) jobs.RemoveOutput(name);
    }
  } catch (const Error& error) {
    options_.log(StudyName(id_) + ": " + error.message());
  }
}

void StudyDriver::Move(StudyState from, StudyState to, const std::string& fault) {
  options_.store->Write(
      [&](Tables& tables) {
        if (tables.studies.Get(id_).state == from) {
          tables.studies.SetState(id_, to, fault, options_.clock->Now());
        }
      },
      Store::Use::kMakesRoom);
}

void StudyDriver::Meet(const Error& error, const std::stop_token& turn) {
  options_.log(StudyName(id_) + ": " + error.what());
  SetNote(error.message());
  Close();
  // Of results that another process has open, too: somebody looks into the folder.
  const bool passes = IsPassing(error) || error.code() == ErrorCode::kFailedPrecondition;
  if (passes || !Fail(error.what())) RestUnlessStopped(options_.pause, turn);
}

bool StudyDriver::Fail(const std::string& why) {
  try {
    return options_.store->Write(
        [&](Tables& tables) {
          const StudyRecord study = tables.studies.Get(id_);
          if (study.state == v1::Study::CANCELLING) return false;
          tables.studies.SetState(id_, v1::Study::CANCELLING, why, options_.clock->Now());
          return true;
        },
        Store::Use::kMakesRoom);
  } catch (const Error& error) {
    options_.log(StudyName(id_) + ": " + error.what());
    return false;
  }
}

void StudyDriver::SetNote(const std::string& note) {
  std::lock_guard lock(mutex_);
  note_ = note;
}

}  // namespace syncbn::coordinator
