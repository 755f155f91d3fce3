#include "coordinator/study/study_drivers.h"

#include <utility>

namespace syncbn::coordinator {

void StudyDrivers::Start() {
  TakeInResultFiles(*options_.store);
  for (const int64_t study :
       options_.store->Read([](Tables& tables) { return tables.studies.Open(); })) {
    Wake(study);
  }
}

void StudyDrivers::Stop() {
  std::map<int64_t, std::unique_ptr<StudyDriver>> ending;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    ending = std::exchange(drivers_, {});
  }
}

void StudyDrivers::Wake(int64_t study) {
  // Joined without the lock.
  std::vector<std::unique_ptr<StudyDriver>> ended;
  std::lock_guard lock(mutex_);
  if (stopped_) return;
  for (auto one = drivers_.begin(); one != drivers_.end();) {
    if (one->second->done()) {
      ended.push_back(std::move(one->second));
      one = drivers_.erase(one);
    } else {
      ++one;
    }
  }
  std::unique_ptr<StudyDriver>& driver = drivers_[study];
  if (driver && driver->Wake()) return;
  if (driver) ended.push_back(std::move(driver));
  driver = std::make_unique<StudyDriver>(study, options_);
}

v1::Study StudyDrivers::View(const StudyRecord& record) const {
  v1::Study study = ToProto(record);
  std::lock_guard lock(mutex_);
  const auto driver = drivers_.find(record.id);
  if (driver != drivers_.end()) driver->second->AddTo(study, record.revision);
  return study;
}

}  // namespace syncbn::coordinator
