#include "tests/bench/load_watchers.h"

#include <sys/prctl.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "base/file.h"
#include "tests/bench/load_clients.h"
#include "tests/bench/load_server.h"

namespace syncbn::bench {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono::steady_clock;

// The two sides speak through files: order, ready, measure, last, result.
void WaitForFile(const fs::path& file, std::chrono::seconds patience) {
  const auto end = steady_clock::now() + patience;
  while (!fs::exists(file)) {
    if (steady_clock::now() > end) throw std::runtime_error("waited in vain for " + file.string());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

template <typename List>
void Collect(List& followers, std::vector<double>& latencies) {
  latencies.clear();
  for (auto& follower : followers) {
    const std::vector<double> own = follower->TakeLatencies();
    latencies.insert(latencies.end(), own.begin(), own.end());
  }
}

void Watch(const fs::path& folder) {
  const json order = json::parse(ReadFile(folder / "order"));
  const std::string address = order["address"], job = order["job"], attempt = order["attempt"];
  std::vector<std::unique_ptr<MetricFollower>> metrics;
  std::vector<std::unique_ptr<JobFollower>> jobs;
  std::vector<std::unique_ptr<LogFollower>> logs;
  for (int i = 0; i < order["followers"].get<int>(); ++i) {
    const auto channel = Connect(address);
    metrics.push_back(std::make_unique<MetricFollower>(channel, order["metrics_token"], job));
    jobs.push_back(std::make_unique<JobFollower>(channel, order["jobs_token"], job));
    logs.push_back(
        std::make_unique<LogFollower>(channel, order["logs_token"], attempt + "/logs/output"));
  }
  // What was there before comes first; then nothing for a second, or only what is new.
  const auto all_read = [](const auto& followers) {
    return std::all_of(followers.begin(), followers.end(),
                       [](const auto& follower) { return follower->responses() > 0; });
  };
  const auto end = steady_clock::now() + std::chrono::seconds(60);
  while (!all_read(metrics) || !all_read(jobs) || !all_read(logs)) {
    if (steady_clock::now() > end) throw std::runtime_error("a stream was never answered");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  std::this_thread::sleep_for(std::chrono::seconds(3));
  WriteFileAtomically(folder / "ready", "");
  WaitForFile(folder / "measure", std::chrono::seconds(120));
  std::vector<double> metric_latencies, log_latencies;
  Collect(metrics, metric_latencies), Collect(logs, log_latencies);
  WaitForFile(folder / "last", std::chrono::seconds(900));
  const json last = json::parse(ReadFile(folder / "last"));
  const std::map<int, int64_t> points = last["points"].get<std::map<int, int64_t>>();
  const std::string log = ReadFile(last["log"].get<std::string>());
  const auto deadline = steady_clock::now() + std::chrono::seconds(60);
  for (size_t i = 0; i < metrics.size(); ++i) {
    metrics[i]->WaitUntilComplete(deadline);
    jobs[i]->WaitUntilComplete(deadline);
    logs[i]->WaitUntilComplete(deadline);
    if (metrics[i]->seen() != points) throw std::runtime_error("a follower missed points");
    if (jobs[i]->transitions() != jobs[0]->transitions() || jobs[0]->transitions().empty())
      throw std::runtime_error("followers saw different transitions");
    if (log.empty() || logs[i]->text() != log)
      throw std::runtime_error("a follower did not see the whole log");
  }
  Collect(metrics, metric_latencies), Collect(logs, log_latencies);
  WriteFileAtomically(folder / "result",
                      json{{"metrics", metric_latencies}, {"log", log_latencies}}.dump());
}

}  // namespace

Watchers::Watchers(const std::string& program, const WatchOrder& order) : folder_(order.folder) {
  fs::create_directories(folder_);
  WriteFileAtomically(folder_ / "order", json{{"address", order.address},
                                              {"metrics_token", order.metrics_token},
                                              {"jobs_token", order.jobs_token},
                                              {"logs_token", order.logs_token},
                                              {"job", order.job},
                                              {"attempt", order.attempt},
                                              {"followers", order.followers}}
                                             .dump());
  ProcessOptions options;
  options.argv = {program, "watch", folder_.string()};
  options.timeout = std::chrono::seconds(1200);
  process_.emplace(options);
}

void Watchers::WaitFor(const char* file) {
  const auto end = steady_clock::now() + std::chrono::seconds(120);
  while (!fs::exists(folder_ / file)) {
    if (steady_clock::now() > end || !process_->Err().empty())
      throw std::runtime_error("followers: " + process_->Err());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void Watchers::WaitUntilReady() { WaitFor("ready"); }

void Watchers::Measure() { WriteFileAtomically(folder_ / "measure", ""); }

json Watchers::Finish(const std::map<int, int64_t>& last, const fs::path& log) {
  WriteFileAtomically(folder_ / "last", json{{"points", last}, {"log", log.string()}}.dump());
  WaitFor("result");
  const ProcessResult result = process_->Wait();
  if (result.status != 0) throw std::runtime_error("followers ended badly: " + result.err);
  return json::parse(ReadFile(folder_ / "result"));
}

bool IsWatcher(int argc, char** argv) { return argc == 3 && std::strcmp(argv[1], "watch") == 0; }

int RunWatcher(int /*argc*/, char** argv) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    Watch(argv[2]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace syncbn::bench
