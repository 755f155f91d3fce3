// What the trials of a study came to, kept as soon as a trial has ended; in results.jsonl, a line
// each.
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
// none throws DATA_LOSS naming it, as one of `name`.
std::map<std::string, TrialRecord> ParseResults(std::string_view text, const std::string& name);
// The same of a file. One that is not there is empty.
std::map<std::string, TrialRecord> ReadResults(const std::filesystem::path& path);

// Where results are kept. Not thread-safe.
class KeptResults {
 public:
  virtual ~KeptResults() = default;

  const std::map<std::string, TrialRecord>& results() const { return results_; }
  // Null: not there.
  const TrialRecord* Find(const std::string& id) const;
  // Durable when it returns. Throws RESOURCE_EXHAUSTED on a full disk, and all is as before.
  void Add(const std::string& id, TrialRecord record);

 protected:
  KeptResults() = default;
  KeptResults(const KeptResults&) = delete;
  KeptResults& operator=(const KeptResults&) = delete;
  virtual void Write(const std::string& id, const TrialRecord& record) = 0;

  std::map<std::string, TrialRecord> results_;
};

// Those of a file.
class ResultLog final : public KeptResults {
 public:
  // Reads what is there, cuts off a torn last line, and goes on behind it. Throws what reading and
  // opening throw, and FAILED_PRECONDITION where another process has the log open.
  explicit ResultLog(std::filesystem::path path);
  ~ResultLog() override;

  // Forgets what others have computed, which stays in the file until a later line of the same trial
  // counts instead. Returns how many.
  size_t KeepOnly(const std::string& by);
  // Forgets, likewise, the results of trials that have failed.
  void DropFailed();

 private:
  void Write(const std::string& id, const TrialRecord& record) override;

  const std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace syncbn::study
