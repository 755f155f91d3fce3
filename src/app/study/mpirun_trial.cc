#include "app/study/mpirun_trial.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "app/exit_code.h"
#include "app/run/subprocess.h"
#include "app/versions.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "coordinator/launch/process.h"
#include "study/trial/trial_folder.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "trial-";

class TemporaryFolder {
 public:
  explicit TemporaryFolder(const fs::path& parent) {
    std::string pattern = (parent / (std::string(kPrefix) + "XXXXXX")).string();
    if (::mkdtemp(pattern.data()) == nullptr) ThrowErrno("create", pattern);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// The last line that says something.
std::string LastLine(const std::string& text) {
  const size_t end = text.find_last_not_of("\n ");
  if (end == std::string::npos) return "it printed nothing";
  const size_t begin = text.rfind('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1, end - begin);
}

}  // namespace

std::optional<study::TrialRecord> RunUnderMpirun(const v1::RunSpec& run, int processes,
                                                 const std::string& backend, const fs::path& parent,
                                                 const std::stop_token& stop) {
  const TemporaryFolder folder(parent);
  const fs::path run_file = folder.path() / "run.yaml", out = folder.path() / "out";
  WriteFileAtomically(run_file, study::RunFileOfTrial(run));
  const fs::path log = folder.path() / "log";
  const int code =
      RunLogged(LocalMpirunCommand(processes, {ProgramPath().string(), "train", run_file.string(),
                                               "--out", out.string(), "--quiet", "--no-checkpoints",
                                               "--trial", "--backend", backend}),
                log, stop);
  if (stop.stop_requested()) return std::nullopt;
  if (code == kSuccess || code == kDiverged) return study::ReadTrialFolder(out, run);
  study::TrialRecord record;
  record.end = study::TrialEnd::kFailed;
  record.reason = "exit code " + std::to_string(code) + " of " + Plural(processes, "process") +
                  ": " + LastLine(ReadFile(log));
  return record;
}

std::string MissingForTrials(const study::Plan& plan) {
  int most = 1;
  for (size_t cell = 0; cell < plan.cells().size(); ++cell) {
    most = std::max(most, plan.ProcessesOf({.cell = cell}));
  }
  if (most == 1 || coordinator::FindProgram("mpirun")) return "";
  return "trials of up to " + Plural(most, "process") +
         " are started with mpirun, which is not installed or not on PATH";
}

void RemoveLeftTrials(const fs::path& parent) {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(parent, ignored)) {
    if (entry.is_directory() && entry.path().filename().string().starts_with(kPrefix)) {
      fs::remove_all(entry.path(), ignored);
    }
  }
}

}  // namespace syncbn::app
