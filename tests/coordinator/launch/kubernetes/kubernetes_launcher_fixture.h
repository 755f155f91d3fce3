// The launcher `kubernetes` with the stand-in of a cluster, whose pods are processes of this
// machine, and attempts for it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/file.h"
#include "coordinator/job/classify.h"
#include "coordinator/launch/kubernetes/kubernetes_launcher.h"
#include "tests/kubernetes/stand_in.h"

namespace syncbn::coordinator {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Kind = Observation::Kind;

inline const std::string kTool = std::string(TEST_BIN) + "/coordinator_supervise_tool";
inline const std::string kWorker = std::string(TEST_BIN) + "/coordinator_mpi_worker";

// One attempt of two processes, each in a pod of its own.
struct Attempt {
  Attempt(const std::filesystem::path& folder, std::vector<std::string> arguments, int processes) {
    static int count = 0;
    ++count;
    store = "kube" + std::to_string(::getpid());
    request.marker = store + "/" + AttemptName(count, 1);
    request.attempt = {.id = {count, 1},
                       .folder = folder / ("job-" + std::to_string(count)),
                       .marker = request.marker};
    request.request = {.job = count, .processes = processes};
    request.program = {kWorker};
    request.program.insert(request.program.end(), arguments.begin(), arguments.end());
    request.working_folder = folder;
    request.ladder = {.ask = milliseconds(300),
                      .checkpoint = seconds(3),
                      .terminate = seconds(30),
                      .launcher = seconds(5)};
  }
  AttemptFolder Folder() const { return AttemptFolder(request.attempt.folder); }
  std::string name() const { return MpiJobName(request.marker); }
  std::string launcher() const { return name() + "-launcher-x7k2p"; }
  std::string worker() const { return name() + "-worker-0"; }
  std::string Logs() const {
    std::string text;
    for (const char* name : {"output.log", "supervisor.log"}) {
      const auto file = request.attempt.folder / name;
      if (std::filesystem::exists(file)) text += std::string(name) + ":\n" + ReadFile(file);
    }
    return text;
  }

  std::string store;
  LaunchRequest request;
};

class KubernetesLauncherTest : public ::testing::Test {
 protected:
  void TearDown() override {
    launcher_.reset();
    for (const std::string& marker : markers_) {
      for (const MarkedProcess& left : FindMarked(marker))
        ADD_FAILURE() << "was left: " << left.command;
      Sweep(marker, seconds(3));
    }
  }
  KubernetesLauncher& Launcher() {
    if (!launcher_) Restart();
    return *launcher_;
  }
  // As after a restart of the coordinator.
  void Restart() {
    launcher_.reset();
    KubernetesLauncher::Options options{.access = access.server.empty() ? cluster.access() : access,
                                        .job = {.name_space = "training",
                                                .image = "registry/syncbn:1",
                                                .claims = {{"shared", folder.path()}},
                                                .program = kTool,
                                                .patch = nullptr},
                                        .store_id = "kube" + std::to_string(::getpid()),
                                        .retry_time = milliseconds(300),
                                        .record_time = seconds(2),
                                        .obstacle_time = obstacle_time};
    options.delete_time = delete_time;
    options.node_time = node_time;
    options.tidy_every = milliseconds(100);
    options.times = {.connect = seconds(2), .answer = seconds(3)};
    launcher_ = std::make_unique<KubernetesLauncher>(options);
  }
  Attempt Make(std::vector<std::string> arguments, int processes = 2) {
    Attempt attempt(folder.path(), std::move(arguments), processes);
    markers_.push_back(attempt.request.marker);
    return attempt;
  }
  Observation WaitFor(const Attempt& attempt, Kind kind, const std::string& detail = "") {
    const auto end = std::chrono::steady_clock::now() + seconds(60);
    Observation seen;
    while (std::chrono::steady_clock::now() < end) {
      seen = Launcher().Observe(attempt.request.attempt);
      if (seen.kind == kind && seen.detail.find(detail) != std::string::npos) return seen;
      if (seen.kind == Kind::kEnded) break;
      std::this_thread::sleep_for(milliseconds(50));
    }
    ADD_FAILURE() << "was last seen as " << static_cast<int>(seen.kind) << " " << seen.detail
                  << (seen.exit ? seen.exit->DebugString() : "") << "\n"
                  << attempt.Logs() << cluster.LogOf(attempt.launcher())
                  << json(cluster.All("mpijobs")).dump(1) << json(cluster.All("pods")).dump(1);
    if (!seen.exit) seen.exit.emplace();
    return seen;
  }
  v1::ExitRecord WaitForEnd(const Attempt& attempt) { return *WaitFor(attempt, Kind::kEnded).exit; }
  Verdict VerdictOf(const Attempt& attempt) {
    Verdict verdict = Classify(WaitForEnd(attempt), {}, attempt.request.request.processes, 1);
    if (!verdict.failure) {
      ADD_FAILURE() << "no failure\n" << attempt.Logs();
      verdict.failure.emplace();
    }
    return verdict;
  }
  void WaitForLog(const Attempt& attempt, const std::string& text) {
    const auto file = attempt.Folder().output_log();
    const auto end = std::chrono::steady_clock::now() + seconds(60);
    while (!std::filesystem::exists(file) || ReadFile(file).find(text) == std::string::npos) {
      ASSERT_TRUE(std::chrono::steady_clock::now() < end)
          << attempt.Logs() << cluster.LogOf(attempt.launcher())
          << Launcher().Observe(attempt.request.attempt).detail;
      std::this_thread::sleep_for(milliseconds(50));
    }
  }
  void ExpectGone(const Attempt& attempt) {
    const auto end = std::chrono::steady_clock::now() + seconds(20);
    while (!cluster.All("mpijobs").empty() || !cluster.All("pods").empty()) {
      if (std::chrono::steady_clock::now() > end) {
        ADD_FAILURE() << "was left: " << json(cluster.All("mpijobs")).dump(1);
        return;
      }
      std::this_thread::sleep_for(milliseconds(50));
    }
  }

  TempFolder folder;
  KubeStandIn cluster{{}};
  KubeAccess access;  // of another cluster
  milliseconds obstacle_time = seconds(1), delete_time = std::chrono::minutes(3),
               node_time = seconds(1);

 private:
  std::unique_ptr<KubernetesLauncher> launcher_;
  std::vector<std::string> markers_;
};

}  // namespace syncbn::coordinator
