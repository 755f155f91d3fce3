// What the tests of launchers share: one attempt in a folder of its own, and waiting for it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "base/file.h"
#include "coordinator/launch/process.h"
#include "coordinator/launch/supervised_launcher.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {

inline const std::string kTool = std::string(TEST_BIN) + "/coordinator_supervise_tool";
inline const std::string kWorker = std::string(TEST_BIN) + "/coordinator_mpi_worker";

class SupervisedLauncherTest : public ::testing::Test {
 protected:
  SupervisedLauncherTest() {
    static int count = 0;
    request.attempt = {.id = {++count, 1}, .folder = folder.path() / "attempt"};
    request.marker = "launcher" + std::to_string(::getpid()) + "/" + AttemptName(count, 1);
    request.request = {.job = count, .processes = 2};
    request.placement = {{"localhost", 2}};
    request.program = {kWorker, "ok"};
    request.working_folder = folder.path();
    request.ladder = {.ask = std::chrono::milliseconds(300),
                      .checkpoint = std::chrono::milliseconds(500),
                      .terminate = std::chrono::seconds(10),
                      .launcher = std::chrono::seconds(2)};
    request.remote_time = std::chrono::seconds(3);
    options.supervise = {kTool, "supervise"};
    options.remote_program = kTool;
    options.mpirun.hosts = {{.name = "localhost", .slots = 4, .cores = 1}};
  }
  ~SupervisedLauncherTest() override {
    EXPECT_TRUE(FindMarked(request.marker).empty()) << "processes were left";
    Sweep(request.marker, std::chrono::milliseconds(3000));
  }

  Launcher& launcher() {
    if (!launcher_) launcher_.emplace(options);
    return *launcher_;
  }
  v1::ExitRecord WaitForEnd() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(90);
    while (std::chrono::steady_clock::now() < end) {
      Observation seen = launcher().Observe(request.attempt);
      if (seen.kind == Observation::Kind::kEnded) return *seen.exit;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ADD_FAILURE() << "did not end\n" << Logs();
    launcher().Force(request.attempt);
    return {};
  }
  void WaitForLog(const std::string& text) {
    const auto file = AttemptFolder(request.attempt.folder).output_log();
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(90);
    while (!std::filesystem::exists(file) || ReadFile(file).find(text) == std::string::npos) {
      ASSERT_TRUE(std::chrono::steady_clock::now() < end)
          << "the log never said: " << text << "\n" << Logs();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
  // What the launcher and the supervisor have said so far.
  std::string Logs() {
    std::string text;
    for (const char* name : {"output.log", "supervisor.log"}) {
      const auto file = request.attempt.folder / name;
      if (std::filesystem::exists(file)) text += std::string(name) + ":\n" + ReadFile(file);
    }
    for (const MarkedProcess& process : FindMarked(request.marker))
      text += std::to_string(process.pid) + " " + process.command + "\n";
    return text;
  }
  int64_t SupervisorPid() { return AttemptFolder(request.attempt.folder).Supervisor()->pid(); }

  TempFolder folder;
  LaunchRequest request;
  SupervisedLauncher::Options options;
  std::optional<SupervisedLauncher> launcher_;
};

}  // namespace syncbn::coordinator
