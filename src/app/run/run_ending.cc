#include "app/run/run_ending.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "app/console.h"
#include "app/exit_code.h"
#include "app/terminal.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "base/untrusted_json.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;
using train::RunEnd;

std::string Percent(double part, double whole) {
  return whole > 0 ? Format("%.1f %%", 100 * part / whole) : "-";
}

std::string FiguresText(const train::Figures& figures) {
  return "loss " + Fixed(figures.loss, 4) + ", accuracy " + Fixed(100 * figures.accuracy, 2) + " %";
}

// As the coordinator names the class of such an end.
const char* ClassName(RunEnd end) {
  return end == RunEnd::kDiverged ? "DIVERGED" : "STORAGE";
}

bool HasFailed(RunEnd end) {
  return end == RunEnd::kDiverged || end == RunEnd::kStorage;
}

}  // namespace

void PrintSummary(const train::Summary& summary, const fs::path& out, bool has_batch_norm) {
  std::vector<std::vector<std::string>> rows;
  if (HasFailed(summary.end)) rows.push_back({"end", ClassName(summary.end)});
  if (summary.train) {
    rows.push_back({"train", FiguresText(*summary.train) + " (last epoch)"});
  }
  for (const auto& [name, figures] : summary.test) {
    rows.push_back(
        {has_batch_norm ? "test, " + name + " statistics" : "test", FiguresText(figures)});
  }
  rows.push_back({"speed", Fixed(summary.images_per_second, 0) + " images/s"});
  const train::MetricRecord::Milliseconds& ms = summary.milliseconds;
  const double all = ms.compute + ms.statistics + ms.gradients + ms.data;
  rows.push_back({"share of time", "compute " + Percent(ms.compute, all) +
                                       ", statistics messages " + Percent(ms.statistics, all) +
                                       ", gradient messages " + Percent(ms.gradients, all) +
                                       ", data " + Percent(ms.data, all)});
  if (summary.skipped_steps > 0) {
    rows.push_back({"skipped steps", std::to_string(summary.skipped_steps) + " (not finite)"});
  }
  for (const train::EnvironmentChange& change : summary.environment_changes) {
    rows.push_back(
        {"other bits", "since step " + std::to_string(change.step) + ": " + change.what});
  }
  if (summary.digest) rows.push_back({"digest", summary.digest->Hex()});
  rows.push_back({"output", out.string()});
  Say(stdout, "%s", FormatTable(rows, {}).c_str());
  std::fflush(stdout);
}

void LeaveSummary(const fs::path& path, train::Summary& summary) {
  try {
    train::WriteSummary(path, summary);
  } catch (const Error& error) {
    const std::string what = "summary.json was not written: " + error.message();
    if (HasFailed(summary.end)) {
      Say(stderr, "syncbn: warning: %s\n", what.c_str());
      return;
    }
    summary.end = RunEnd::kStorage;
    summary.reason = what;
  }
}

bool IsFinishedSummary(const fs::path& path, int64_t steps) {
  if (!fs::exists(path)) return false;
  const auto json = UntrustedJsonOrNull(ReadFile(path));
  return json.is_object() && json.value("steps", nlohmann::json()) == steps &&
         json.value("status", nlohmann::json()) == train::RunEndName(RunEnd::kFinished);
}

void AgreeOnEnd(comm::Communicator& communicator, train::Summary& summary) {
  const std::string mine = std::to_string(static_cast<int>(summary.end)) + summary.reason;
  try {
    const std::string agreed = communicator.AllGather(mine).front();
    summary.end = static_cast<RunEnd>(agreed.at(0) - '0');
    summary.reason = agreed.substr(1);
  } catch (Error& error) {
    if (error.code() != ErrorCode::kDeadlineExceeded || communicator.rank() == 0) throw;
    throw error.AddFrame(
        "waiting for rank 0 to end the run: does the disk of its last checkpoint answer?");
  }
}

void SayEnd(const train::Summary& summary, std::optional<int64_t> saved) {
  const auto step = static_cast<long long>(summary.steps);
  if (HasFailed(summary.end)) {
    Say(stderr, "syncbn: %s: %s\n", ClassName(summary.end), summary.reason.c_str());
  } else if (summary.end == RunEnd::kStopped && saved == summary.steps) {
    Say(stderr, "syncbn: stopped on request after step %lld; go on with --resume\n", step);
  } else if (summary.end == RunEnd::kStopped) {
    const std::string left =
        saved ? "the newest is of step " + std::to_string(*saved) + ": --resume goes on from there"
              : "there is none to go on from";
    Say(stderr, "syncbn: stopped on request after step %lld, WITHOUT a checkpoint of it; %s\n",
        step, left.c_str());
  }
}

int ExitCodeOf(RunEnd end) {
  switch (end) {
    case RunEnd::kFinished:
      return kSuccess;
    case RunEnd::kStopped:
      return kStopped;
    case RunEnd::kDiverged:
      return kDiverged;
    case RunEnd::kStorage:
      return kStorage;
  }
  return kFailure;
}

}  // namespace syncbn::app
