// What the load benchmark needs around its load: a real `syncbn serve`, a job on it whose worker
// processes are stand-ins that only hold the attempt open, and figures of a process.
#pragma once

#include <grpcpp/channel.h>
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "syncbn/v1/job.grpc.pb.h"
#include "syncbn/v1/worker.grpc.pb.h"
#include "tests/support/process.h"

namespace syncbn::bench {

// Throws if the call failed; `doing` says which it was.
void Check(const grpc::Status& status, const std::string& doing);
// A connection of its own, not shared with other channels of this process.
std::shared_ptr<grpc::Channel> Connect(const std::string& address);
void Authorize(grpc::ClientContext& context, const std::string& token);

struct Usage {
  double cpu_seconds = 0;
  double rss_mib = 0;
  double anonymous_mib = 0;  // of it, without mapped files
};
Usage UsageOf(pid_t pid);
std::string LoadAverage();

// A user's token that the server will know; to be called while it does not run.
std::string AddUser(const std::filesystem::path& data, const std::string& name);

// `syncbn serve` on a free port, ended with SIGTERM. Its jobs' workers are `program`.
class ServeProcess {
 public:
  ServeProcess(const std::filesystem::path& folder, const std::string& program,
               const std::string& token);
  ~ServeProcess();

  const std::string& address() const { return address_; }
  pid_t pid() const { return process_->pid(); }
  // From its start until it answered a call.
  double start_seconds() const { return start_seconds_; }
  void Stop();

 private:
  std::optional<Process> process_;
  std::string address_;
  double start_seconds_ = 0;
};

// A job of `ranks` processes that has been placed and started; this object does what its workers
// would do beside metrics: registers every rank, sends heartbeats, reports the exits.
class LiveJob {
 public:
  LiveJob(const ServeProcess& server, const std::string& user_token, int ranks);
  // Stops the heartbeats; the job goes on.
  ~LiveJob();

  const std::string& name() const { return name_; }
  const std::string& attempt() const { return attempt_; }
  const std::string& token() const { return token_; }
  // Every rank says that it has done its work and leaves; returns when the job has SUCCEEDED.
  void End();

 private:
  v1::Job Get();
  v1::RankName Rank(int rank) const;
  void Beat();

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::WorkerService::Stub> workers_;
  std::string user_token_, name_, attempt_, token_;
  std::filesystem::path output_;
  int ranks_;
  std::atomic<bool> stop_ = false;
  std::thread heartbeats_;
};

// Is this process started as a worker? Then what it does: writes its token where LiveJob finds it,
// rank 0 prints a line with the time ten times a second, and all leave when told. The exit code.
bool IsStandIn(int argc, char** argv);
int RunStandIn(int argc, char** argv);

}  // namespace syncbn::bench
