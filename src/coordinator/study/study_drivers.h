// The drivers of all studies that have not ended. Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "coordinator/study/study_driver.h"

namespace syncbn::coordinator {

class StudyDrivers {
 public:
  explicit StudyDrivers(StudyOptions options) : options_(std::move(options)) {}
  ~StudyDrivers() { Stop(); }

  // Goes on with those of the store. To be called when the controller has started.
  void Start();
  // Studies and their jobs stay as they are.
  void Stop();

  // A study has been made, or its state has changed.
  void Wake(int64_t study);
  // As the API shows it, without the texts.
  v1::Study View(const StudyRecord& record) const;

  const StudyOptions& options() const { return options_; }

 private:
  const StudyOptions options_;
  mutable std::mutex mutex_;
  bool stopped_ = false;
  std::map<int64_t, std::unique_ptr<StudyDriver>> drivers_;
};

}  // namespace syncbn::coordinator
