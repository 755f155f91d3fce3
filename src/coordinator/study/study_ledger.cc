#include "coordinator/study/study_ledger.h"

#include <charconv>
#include <cmath>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "study/outlook.h"
#include "study/study_folder.h"

namespace syncbn::coordinator {
namespace {

namespace fs = std::filesystem;

// "batch 32, norm BN, seed 3"
std::string DescriptionOf(const study::Plan& plan, const study::Trial& trial) {
  const std::string cell = plan.Describe(plan.cells()[trial.cell]);
  return cell + (cell.empty() ? "" : ", ") + "seed " + std::to_string(trial.seed);
}

StudyResult ResultOf(const std::string& id, const study::TrialRecord& record) {
  return {.trial = id,
          .line = study::ToJsonLine(id, record),
          .failed = record.end == study::TrialEnd::kFailed};
}

}  // namespace

v1::StudyProgress ToBeStored(v1::StudyProgress progress) {
  progress.clear_running();
  return progress;
}

StudyLedger::StudyLedger(Store& store, int64_t study, const study::Plan& plan)
    : store_(store), study_(study), plan_(plan) {
  for (const std::string& line :
       store_.Read([&](Tables& tables) { return tables.studies.Results(study_); })) {
    try {
      auto [id, record] = study::FromJsonLine(line);
      results_.emplace(std::move(id), std::move(record));
    } catch (const Error& error) {
      throw Error(ErrorCode::kDataLoss, "the store holds a damaged result of " + StudyName(study_) +
                                            ": " + error.message() +
                                            "; put a backup of the store in its place");
    }
  }
  Learn();
  int64_t known = 0;
  for (const auto& [id, one] : known_) {
    known += one.count;
    if (const study::TrialRecord* record = Find(id)) Count(id, *record, progress_);
  }
  progress_.set_known(known);
}

void StudyLedger::Note(const study::Progress& progress) {
  std::lock_guard lock(mutex_);
  progress_.set_known(progress.known);
  progress_.set_done(progress.done);
  progress_.set_running(progress.running);
}

v1::StudyProgress StudyLedger::progress() const {
  std::lock_guard lock(mutex_);
  return progress_;
}

void StudyLedger::Write(const std::string& id, const study::TrialRecord& record) {
  v1::StudyProgress next = progress();
  Count(id, record, next);
  const StudyResult result = ResultOf(id, record);
  store_.Write([&](Tables& tables) {
    // Whoever has had results forgotten since they were read here has changed this, too.
    v1::StudyProgress stored = tables.studies.Get(study_).progress;
    Count(id, record, stored);
    stored.set_known(next.known());
    tables.studies.AddResult(study_, result);
    tables.studies.SetProgress(study_, stored);
  });
  std::lock_guard lock(mutex_);
  progress_ = std::move(next);
}

void StudyLedger::Learn() {
  known_.clear();
  const study::Outlook outlook(plan_, results());
  for (const study::TrialResult& one : outlook.trials()) {
    ++known_.try_emplace(one.id, Known{.trial = one.trial}).first->second.count;
  }
}

void StudyLedger::Count(const std::string& id, const study::TrialRecord& record,
                        v1::StudyProgress& progress) {
  // Where something is tuned more are known with every value that is found.
  if (!known_.contains(id)) Learn();
  const Known& known = known_.at(id);
  progress.set_done(progress.done() + known.count);
  if (record.end == study::TrialEnd::kFailed) progress.set_failed(progress.failed() + 1);
  if (record.end == study::TrialEnd::kDiverged) progress.set_diverged(progress.diverged() + 1);
  if (record.end != study::TrialEnd::kFinished || record.test.empty()) return;
  const double accuracy = record.test.back().accuracy;
  if (!std::isfinite(accuracy)) return;
  if (progress.has_best() && progress.best().test_accuracy() >= accuracy) return;
  v1::BestTrial& best = *progress.mutable_best();
  best.set_trial(id);
  best.set_description(DescriptionOf(plan_, known.trial));
  best.set_test_accuracy(accuracy);
}

void TakeInResultFiles(Store& store) {
  std::error_code none;
  for (const fs::directory_entry& entry :
       fs::directory_iterator(store.folder() / "studies", none)) {
    const std::string number = entry.path().filename();
    int64_t study = 0;
    const auto [end, code] = std::from_chars(number.data(), number.data() + number.size(), study);
    if (code != std::errc() || end != number.data() + number.size()) continue;
    const auto results = study::ReadResults(entry.path() / study::kResultsFile);
    const bool known = store.Write([&](Tables& tables) {
      if (!tables.studies.Exists(study)) return false;
      // One that was killed before it had removed the file.
      if (tables.studies.ResultBytes(study) > 0) return true;
      for (const auto& [id, record] : results) {
        tables.studies.AddResult(study, ResultOf(id, record));
      }
      return true;
    });
    std::error_code ignored;
    if (known) fs::remove_all(entry.path(), ignored);
  }
}

}  // namespace syncbn::coordinator
