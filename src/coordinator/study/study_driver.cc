#include "coordinator/study/study_driver.h"

#include <filesystem>
#include <set>

#include "coordinator/api_error.h"
#include "coordinator/study/job_signal.h"
#include "coordinator/study/study_submission.h"
#include "study/outlook.h"

namespace syncbn::coordinator {
namespace {

namespace fs = std::filesystem;

RequestInfo AsStudy(int64_t study) {
  return {.key = {.actor = StudyName(study)}};
}

// Whether a job is as the verb wants it, or on the way there.
bool Obeys(JobState state, EventKind verb) {
  if (state == JobState::kCancelling) return true;
  return verb == EventKind::kPause && (state == JobState::kPausing || state == JobState::kPaused);
}

bool IsGone(const Error& error) {
  const auto* api = dynamic_cast<const ApiError*>(&error);
  return api != nullptr && api->reason() == "STUDY_NOT_FOUND";
}

bool IsSettled(JobState state, EventKind verb) {
  return IsEnded(state) || (verb == EventKind::kPause && state == JobState::kPaused);
}

}  // namespace

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

bool StudyDriver::Wake() {
  std::stop_source turn;
  {
    std::lock_guard lock(mutex_);
    if (done_) return false;
    woken_ = true;
    turn = turn_;
  }
  turn.request_stop();
  return true;
}

bool StudyDriver::done() const {
  std::lock_guard lock(mutex_);
  return done_;
}

void StudyDriver::AddTo(v1::Study& study, int64_t revision) const {
  std::lock_guard lock(mutex_);
  if (done_ || IsEnded(study.state())) return;
  if (ledger_ && opened_ == revision) *study.mutable_progress() = ledger_->progress();
  if (study.reason().empty()) study.set_reason(note_);
}

void StudyDriver::Loop() {
  while (Turn()) {
  }
  Close();
}

bool StudyDriver::Turn() {
  std::stop_token turn;
  {
    std::lock_guard lock(mutex_);
    // Whoever changes the state from here on ends this turn.
    turn_ = std::stop_source();
    turn = turn_.get_token();
    woken_ = false;
    done_ = ending_;
    if (done_) return false;
  }
  bool ended = false;
  try {
    const StudyRecord study =
        options_.store->Read([&](Tables& tables) { return tables.studies.Get(id_); });
    ended = IsEnded(study.state);
    if (!ended) Step(study, turn);
  } catch (const Error& error) {
    ended = IsGone(error);
    if (!ended) Meet(error, turn);
  } catch (const std::exception& error) {
    Meet(Error(ErrorCode::kResourceExhausted, error.what()), turn);
  }
  std::lock_guard lock(mutex_);
  // One that was retried just now goes on.
  done_ = ended && !woken_;
  return !done_;
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
        Move(study, v1::Study::PAUSED);
      }
      return;
    case v1::Study::CANCELLING:
      if (!Settle(study, EventKind::kCancel, turn)) return;
      Harvest(study);
      return Move(study, study.fault.empty() ? v1::Study::CANCELLED : v1::Study::FAILED);
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
  if (!plan_) {
    const StudyTexts texts =
        options_.store->Read([&](Tables& tables) { return tables.studies.Texts(id_); });
    plan_ = PlanOf(study.spec, texts);
  }
  // Whoever has changed the state may have had results forgotten.
  if (ledger_ && opened_ == study.revision) return;
  auto ledger = std::make_shared<StudyLedger>(*options_.store, id_, *plan_);
  std::lock_guard lock(mutex_);
  ledger_ = std::move(ledger);
  opened_ = study.revision;
}

void StudyDriver::Close() {
  {
    std::lock_guard lock(mutex_);
    ledger_.reset();
  }
  plan_.reset();
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
      *plan_, *ledger_, jobs,
      {.at_once = study.spec.at_once(),
       .stop = turn,
       .first = std::move(begun),
       .on_progress = [&](const study::Progress& progress, const study::TrialResult* ended) {
         ledger_->Note(progress);
         if (ended != nullptr) OnEnded(jobs, *ended);
       }});
  if (complete) Move(study, v1::Study::SUCCEEDED);
}

void StudyDriver::OnEnded(TrialJobs& jobs, const study::TrialResult& ended) {
  if (ended.record->end == study::TrialEnd::kFailed) return;
  try {
    jobs.RemoveOutput(ended.id);
  } catch (const Error& error) {
    // It stays until the study goes on anew, or is deleted.
    options_.log(StudyName(id_) + ": " + error.message());
  }
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
        options_.store->Write([&](Tables& tables) { tables.studies.SetPaused(trial.job, true); });
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
    const std::map<std::string, study::TrialRecord> before = ledger_->results();
    const study::Outlook outlook(*plan_, before);
    for (const study::TrialResult& one : outlook.trials()) {
      if (ledger_->Find(one.id) != nullptr) continue;
      const std::optional<StudyTrial> trial = options_.store->Read(
          [&](Tables& tables) { return tables.studies.Trial(study.id, one.id); });
      if (!trial || !trial->state || !IsEnded(*trial->state)) continue;
      if (*trial->state == JobState::kCancelled) continue;  // its study, or a user
      const JobRecord job =
          options_.store->Read([&](Tables& tables) { return tables.jobs.Get(trial->job); });
      ledger_->Add(one.id, jobs.RecordOf(job, plan_->RunOf(one.trial)));
      OnEnded(jobs, {.trial = one.trial, .id = one.id, .record = ledger_->Find(one.id)});
    }
  } catch (const Error& error) {
    if (IsPassing(error)) throw;
    // It ends all the same.
    options_.log(StudyName(id_) + ": " + error.message());
  }
}

void StudyDriver::RemoveOutputs(TrialJobs& jobs) {
  const fs::path folder = StudyOutput(options_.submission.output_root, id_);
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
      const study::TrialRecord* record = ledger_->Find(name);
      if (record != nullptr && record->end != study::TrialEnd::kFailed) jobs.RemoveOutput(name);
    }
  } catch (const Error& error) {
    options_.log(StudyName(id_) + ": " + error.message());
  }
}

void StudyDriver::Move(const StudyRecord& study, StudyState to) {
  options_.store->Write(
      [&](Tables& tables) {
        if (tables.studies.Get(id_).revision != study.revision) return;
        if (ledger_) tables.studies.SetProgress(id_, ToBeStored(ledger_->progress()));
        tables.studies.SetState(id_, to, study.fault, options_.clock->Now());
      },
      Store::Use::kMakesRoom);
}

void StudyDriver::Meet(const Error& error, const std::stop_token& turn) {
  options_.log(StudyName(id_) + ": " + error.what());
  SetNote(error.message());
  Close();
  if (IsPassing(error) || !Fail(error.what())) RestUnlessStopped(options_.pause, turn);
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
