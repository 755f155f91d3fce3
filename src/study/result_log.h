// results.jsonl: what the trials of a study came to, a line each, kept as soon as a trial has
// ended.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "study/measures.h"

namespace syncbn::study {

// A line: the trial's digest (Plan::IdOf) and its record. Numbers read back as the same doubles.
std::string ToJsonLine(const std::string& id, const TrialRecord& record);
// Throws DATA_LOSS with what is wrong.
std::pair<std::string, TrialRecord> FromJsonLine(std::string_view line);

// By digest. A torn last line, which a killed process leaves, is left out; another line that is
// none throws DATA_LOSS naming it. A file that is not there is empty.
std::map<std::string, TrialRecord> ReadResults(const std::filesystem::path& path);

// Not thread-safe.
class ResultLog {
 public:
  // Reads what is there, cuts off a torn last line, and goes on behind it. Throws what reading and
  // opening throw, and FAILED_PRECONDITION where another process has the log open.
  explicit ResultLog(std::filesystem::path path);
  ~ResultLog();
  ResultLog(const ResultLog&) = delete;
  ResultLog& operator=(const ResultLog&) = delete;

  const std::map<std::string, TrialRecord>& results() const { return results_; }
  // Forgets what others have computed, which stays in the file until a later line of the same trial
  // counts instead. Returns how many.
  size_t KeepOnly(const std::string& by);
  // Forgets, likewise, the results of trials that have failed.
  void DropFailed();
  // Null: not there.
  const TrialRecord* Find(const std::string& id) const;
  // On disk when it returns. Throws RESOURCE_EXHAUSTED on a full disk, and the file is as before.
  void Add(const std::string& id, TrialRecord record);

 private:
  const std::filesystem::path path_;
  int fd_ = -1;
  std::map<std::string, TrialRecord> results_;
};

}  // namespace syncbn::study
