#include "app/study/mpirun_trial.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

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

// What stands at the end: a line, or what mpirun says in a frame of dashes.
std::string LastWords(const std::string& text) {
  const auto is_frame = [](const std::string& line) {
    return line.find_first_not_of('-') == std::string::npos;
  };
  std::string words;
  bool framed = false;
  std::vector<std::string> lines;
  std::istringstream all(text);
  for (std::string line; std::getline(all, line);) lines.push_back(line);
  for (; !lines.empty(); lines.pop_back()) {
    const std::string& line = lines.back();
    if (line.empty() || is_frame(line)) {
      if (!words.empty()) break;
      framed |= !line.empty();
      continue;
    }
    words = words.empty() ? line : line + " " + words;
    if (!framed) break;
  }
  return words.empty() ? "it printed nothing" : words;
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
                  ": " + LastWords(ReadFile(log));
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
