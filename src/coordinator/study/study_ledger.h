// What the trials of one study came to, in the store: a result is written together with the
// progress that it makes, so that there is never one without the other.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "coordinator/store/store.h"
#include "study/executor.h"
#include "study/plan.h"
#include "study/result_log.h"

namespace syncbn::coordinator {

class StudyLedger final : public study::KeptResults {
 public:
  // Reads what is there; both outlive it. Throws DATA_LOSS for a result that is damaged.
  StudyLedger(Store& store, int64_t study, const study::Plan& plan);

  // What the executor says of it.
  void Note(const study::Progress& progress);
  // Thread-safe.
  v1::StudyProgress progress() const;

 private:
  // A trial, and how many have its digest.
  struct Known {
    study::Trial trial;
    int64_t count = 0;
  };

  void Write(const std::string& id, const study::TrialRecord& record) override;
  // All trials that are known by the results.
  void Learn();
  void Count(const std::string& id, const study::TrialRecord& record, v1::StudyProgress& progress);

  Store& store_;
  const int64_t study_;
  const study::Plan& plan_;
  std::map<std::string, Known> known_;
  mutable std::mutex mutex_;
  v1::StudyProgress progress_;
};

// Of a study as it is stored: nothing of it is under way by that.
v1::StudyProgress ToBeStored(v1::StudyProgress progress);

// Takes the results of studies that an earlier program has kept beside the store, in files, into
// it, and removes those files. Throws DATA_LOSS for a file that is damaged, and what the store
// throws.
void TakeInResultFiles(Store& store);

}  // namespace syncbn::coordinator
