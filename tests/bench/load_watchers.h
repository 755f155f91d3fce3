// Followers of a job in processes of their own, as users are: so that what they cost is not taken
// from the clients whose latency is measured.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace syncbn::bench {

struct WatchOrder {
  std::string address;
  // Users that open the streams: of metrics, of jobs, of logs. Each has at most 256.
  std::string metrics_token, jobs_token, logs_token;
  std::string job, attempt;
  int followers = 25;
  // Of each rank, to be seen: written into this folder as `last` when it is known.
  std::filesystem::path folder;
};

// Starts `program` (this one) as so many followers, each with WatchMetrics, WatchJobs and FollowLog.
class Watchers {
 public:
  Watchers(const std::string& program, const WatchOrder& order);

  // All streams are open and have caught up.
  void WaitUntilReady();
  // From now on latencies count; they end with Finish.
  void Measure();
  // The job has ended, with this sequence of each rank, and its log is in this file. Waits until
  // every follower has checked that it saw everything; throws if one did not. Latencies in
  // milliseconds: {"metrics": [...], "log": [...]}.
  nlohmann::json Finish(const std::map<int, int64_t>& last, const std::filesystem::path& log);

 private:
  void WaitFor(const char* file);

  std::filesystem::path folder_;
  std::optional<Process> process_;
};

bool IsWatcher(int argc, char** argv);
int RunWatcher(int argc, char** argv);

}  // namespace syncbn::bench
