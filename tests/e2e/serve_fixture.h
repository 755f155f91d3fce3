// A real `syncbn serve` on a free port, driven through the API, and the check that nothing of its
// jobs is left at the end.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "coordinator/launch/process.h"
#include "syncbn/v1/cluster.grpc.pb.h"
#include "syncbn/v1/job.grpc.pb.h"
#include "syncbn/v1/log.grpc.pb.h"
#include "syncbn/v1/metrics.grpc.pb.h"
#include "tests/support/process.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"

namespace syncbn {

class ServeTest : public ::testing::Test {
 protected:
  // Time for anything that takes a moment, on a machine with other things to do.
  static constexpr std::chrono::seconds kPatience{90};

  ~ServeTest() override;

  // Starts the coordinator on the same folder, and the same port as before, and waits until it
  // serves. `extra` are more options, for this start and the later ones.
  void Serve(const std::vector<std::string>& extra = {});
  // As `kill -KILL`, `kill -TERM`; waits for the end. The exit code.
  int Kill();
  int Stop();
  void Restart() { Kill(), Serve(); }
  // Calls show `token_`, where one is set.
  void Authorize(grpc::ClientContext& context) const;
  bool serving() const { return server_.has_value(); }
  // It was started and has ended by itself; Kill() or Stop() has not been called yet.
  bool ServerHasDied() const;
  pid_t ServerPid() const { return server_->pid(); }

  // A small run of some milliseconds a step, with a checkpoint every 4 steps.
  static std::string TinyRun(int steps = 20, int replicas = 4);
  // A program of this name goes before others on the PATH of coordinators that are started later.
  void PutOnPath(const std::string& name, const std::string& script);
  // Jobs of a coordinator that is started later rest so long at every step from this one on (counted
  // anew in each attempt), on any machine: for what has to happen while a run that ends by itself is
  // under way. Called again it changes the pace of those that run: Pace(0) lets them go.
  void Pace(int milliseconds, int from_step = 0);
  // One that is still under way when a test has done what it wants.
  static std::string LongRun() { return TinyRun(1'000'000); }
  v1::Job MakeJob(const std::string& run_file, int processes = 1) const;

  // Each fails the test, with the server's words, where the API answers with an error.
  v1::Job Submit(const v1::Job& job);
  v1::Job Get(const std::string& name);
  v1::Job Cancel(const std::string& name, bool kill = false);
  v1::Job Pause(const std::string& name);
  v1::Job Resume(const std::string& name, std::optional<int> processes = std::nullopt);
  std::vector<v1::Attempt> Attempts(const std::string& name);
  std::vector<v1::Transition> History(const std::string& name);

  // Waits until the job is as `holds` wants it; fails with all that is known of it in the end.
  v1::Job WaitFor(const std::string& name, const std::string& what,
                  const std::function<bool(const v1::Job&)>& holds);
  v1::Job WaitForState(const std::string& name, v1::Job::State state);
  v1::Job WaitForEnd(const std::string& name);
  v1::Job SubmitAndWait(const v1::Job& job) { return WaitForEnd(Submit(job).name()); }
  // Some steps are done, as the run's own metrics.jsonl shows.
  void WaitForSteps(const std::string& name, int steps);

  // Where the job writes, its attempts' folders, and what its summary says.
  std::filesystem::path OutputOf(const std::string& name) const;
  std::filesystem::path AttemptFolderOf(const std::string& name, int attempt) const;
  nlohmann::json SummaryOf(const std::string& name) const;
  // How many points of a series are in the store.
  int64_t PointsOf(const std::string& job, const std::string& series);
  // The transitions into a state that is an end.
  int Ends(const std::string& name);
  // Processes that carry the marker of a job (or of any job of this server).
  std::vector<coordinator::MarkedProcess> Processes(const std::string& name = "") const;
  // Everything that helps to understand a failure.
  std::string Describe(const std::string& name);

  std::filesystem::path data() const { return folder_.path() / "data"; }
  v1::JobService::Stub& jobs() { return *jobs_; }
  v1::ClusterService::Stub& cluster() { return *cluster_; }
  v1::MetricsService::Stub& metrics() { return *metrics_; }
  v1::LogService::Stub& logs() { return *logs_; }
  std::shared_ptr<grpc::Channel> channel() const { return channel_; }

  // Added to the environment of the coordinators that are started from now on.
  std::map<std::string, std::string> environment_;
  // Where they listen.
  std::string listen_ = "127.0.0.1:0";
  std::string token_;
  TempFolder tools_;

 private:
  template <typename Response, typename Call>
  Response Ask(const Call& call);

  TempFolder folder_;
  std::vector<std::string> extra_;
  std::optional<Process> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::ClusterService::Stub> cluster_;
  std::unique_ptr<v1::MetricsService::Stub> metrics_;
  std::unique_ptr<v1::LogService::Stub> logs_;
};

}  // namespace syncbn
