// What moves one study: a thread that runs its trials as jobs while it is RUNNING, pauses or
// cancels them when its state says so, and ends it. All that it knows is in the store, so that
// another one goes on from there after a death at any moment.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "coordinator/study/study_ledger.h"
#include "coordinator/study/trial_jobs.h"
#include "study/plan.h"

namespace syncbn::coordinator {

struct StudyOptions {
  Store* store = nullptr;
  Controller* controller = nullptr;
  // What the jobs of trials must satisfy.
  SubmissionPolicy submission;
  // What this program computes with: that of results of trials that could not be run.
  std::string by;
  std::function<void(const std::string&)> log = [](const std::string&) {};
  const Clock* clock = &Clock::System();
  // Before an obstacle is met once more.
  std::chrono::milliseconds pause = std::chrono::seconds(5);
};

class StudyDriver {
 public:
  StudyDriver(int64_t study, StudyOptions options);
  // Stops; the study and its jobs stay as they are.
  ~StudyDriver();
  StudyDriver(const StudyDriver&) = delete;
  StudyDriver& operator=(const StudyDriver&) = delete;

  // The state of the study has changed. Does not block. False: it is done, and looks no more.
  bool Wake();
  // The study has ended, or is gone.
  bool done() const;
  // Adds to a study of this revision what is not stored: what is under way, and what holds it up.
  void AddTo(v1::Study& study, int64_t revision) const;

 private:
  void Loop();
  // Does what the state asks for; false: it was the last turn.
  bool Turn();
  // What the state asks for; returns when that is done, or the turn is over.
  void Step(const StudyRecord& study, const std::stop_token& turn);
  // Reads the study, and what it has come to so far.
  void Open(const StudyRecord& study);
  void Close();
  void Execute(const StudyRecord& study, const std::stop_token& turn);
  // Its result is kept.
  void OnEnded(TrialJobs& jobs, const study::TrialResult& ended);
  // Gives the order to its open jobs until all of them are in `settled` or have ended; false: the
  // turn is over.
  bool Settle(const StudyRecord& study, EventKind verb, const std::stop_token& turn);
  // Results of trials that ended while nobody waited for them.
  void Harvest(const StudyRecord& study);
  void RemoveOutputs(TrialJobs& jobs);
  TrialJobs MakeJobs(const StudyRecord& study);
  // Only where nobody has changed its state since `study` was read.
  void Move(const StudyRecord& study, StudyState to);
  // What went wrong in a turn: waited out, or the end of the study.
  void Meet(const Error& error, const std::stop_token& turn);
  // Its jobs are ended, and then it is FAILED; false: it was being ended already, or cannot be
  // stored.
  bool Fail(const std::string& why);
  void SetNote(const std::string& note);

  const int64_t id_;
  const StudyOptions options_;
  // Of the thread alone.
  std::unique_ptr<study::Plan> plan_;

  mutable std::mutex mutex_;
  bool ending_ = false, done_ = false;
  bool woken_ = false;  // in this turn
  std::stop_source turn_;
  // Changed by the thread alone. Null: what is stored is all.
  std::shared_ptr<StudyLedger> ledger_;
  int64_t opened_ = 0;  // the revision of the study that it was read at
  std::string note_;
  // Last: it uses what stands above.
  std::thread thread_;
};

}  // namespace syncbn::coordinator
