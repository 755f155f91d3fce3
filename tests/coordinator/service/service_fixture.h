// What the tests of the server share: a real store, a real server on a free port, and the parts
// between them. The services of jobs and workers are small ones of the test's own.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "config/run_file.h"
#include "coordinator/control/secret.h"
#include "coordinator/service/admin_service.h"
#include "coordinator/service/call_gate.h"
#include "coordinator/service/job_watcher.h"
#include "coordinator/service/log_service.h"
#include "coordinator/service/metrics_service.h"
#include "coordinator/service/server.h"
#include "coordinator/service/status.h"
#include "coordinator/store/retention.h"
#include "rpc/status.h"
#include "syncbn/v1/worker.grpc.pb.h"
#include "tests/coordinator/store/store_fixture.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {

using namespace std::chrono_literals;

inline v1::ErrorInfo InfoOf(const grpc::Status& status) {
  return rpc::DetailOf<v1::ErrorInfo>(status).value_or(v1::ErrorInfo());
}

// "NOT_FOUND JOB_NOT_FOUND: there is no job jobs/7", or "OK".
inline std::string Say(const grpc::Status& status) {
  if (status.ok()) return "OK";
  return std::string(rpc::StatusCodeName(status.error_code())) + " " + InfoOf(status).reason() +
         ": " + status.error_message();
}

// A client's context that ends, whatever happens.
struct Context : grpc::ClientContext {
  explicit Context(const std::string& token = "", std::chrono::seconds deadline = 60s) {
    set_deadline(std::chrono::system_clock::now() + deadline);
    if (!token.empty()) AddMetadata("authorization", "Bearer " + token);
  }
};

class TestJobService final
    : public v1::JobService::WithCallbackMethod_WatchJobs<v1::JobService::Service> {
 public:
  TestJobService(Store& store, CallGate& gate, FollowerPool& pool)
      : store_(store),
        gate_(gate),
        watcher_(store, gate, pool, [](const JobRecord& record) { return ToProto(record, MomentAt(kTestNow)); }) {}

  grpc::Status GetJob(grpc::ServerContext* context, const v1::GetJobRequest* request,
                      v1::Job* response) override {
    return gate_.Run(*context, "JobService/GetJob", request, [&](Call&) {
      if (request->name() == "jobs/666") throw std::runtime_error("secret inner text");
      if (request->name() == "100 faults") {
        std::string text;
        for (int i = 0; i < 100; ++i) text += "wrong_key_" + std::to_string(i) + ": 3\n";
        throw RunFileError(config::CheckRunFile(text, "run.yaml").diagnostics, "run.yaml");
      }
      const int64_t id = ParseJobName(request->name());
      *response = ToProto(store_.Read([&](Tables& tables) { return tables.jobs.Get(id); }), MomentAt(kTestNow));
    });
  }
  grpc::Status CancelJob(grpc::ServerContext* context, const v1::CancelJobRequest* request,
                         v1::Job* response) override {
    return gate_.Run(*context, "JobService/CancelJob", request, [&](Call&) {
      const int64_t id = ParseJobName(request->name());
      *response = ToProto(store_.Read([&](Tables& tables) { return tables.jobs.Get(id); }), MomentAt(kTestNow));
    });
  }
  grpc::ServerWriteReactor<v1::WatchJobsResponse>* WatchJobs(
      grpc::CallbackServerContext* context, const v1::WatchJobsRequest* request) override {
    return watcher_.Watch(*context, *request);
  }

 private:
  Store& store_;
  CallGate& gate_;
  JobWatcher watcher_;
};

class TestWorkerService final : public v1::WorkerService::Service {
 public:
  explicit TestWorkerService(CallGate& gate) : gate_(gate) {}
  grpc::Status Heartbeat(grpc::ServerContext* context, const v1::HeartbeatRequest* request,
                         v1::HeartbeatResponse*) override {
    return gate_.Run(*context, "WorkerService/Heartbeat", request, [&](Call& call) {
      call.CheckAttempt(ParseAttemptName(request->rank().attempt()));
    });
  }

 private:
  CallGate& gate_;
};

// Everything of a server; options are set before Start.
class TestServer {
 public:
  TestServer() {
    gate_options.store = &store;
    gate_options.authenticator = &authenticator;
    gate_options.metrics = &metrics;
    gate_options.log = &log;
    options.addresses = {"127.0.0.1:0"};
  }
  ~TestServer() {
    if (pool) pool->Stop();
    server.reset();
  }

  void Start(bool serving = true) {
    gate = std::make_unique<CallGate>(gate_options);
    pool = std::make_unique<FollowerPool>(pool_options);
    metrics_service = std::make_unique<MetricsService>(store, *gate, *pool);
    log_service = std::make_unique<LogService>(store, *gate, *pool);
    admin_service = std::make_unique<AdminService>(*gate);
    job_service = std::make_unique<TestJobService>(store, *gate, *pool);
    worker_service = std::make_unique<TestWorkerService>(*gate);
    server = std::make_unique<Server>(
        options, *gate,
        std::vector<grpc::Service*>{metrics_service.get(), log_service.get(), admin_service.get(),
                                    job_service.get(), worker_service.get()});
    server->SetServing(serving);
  }

  std::shared_ptr<grpc::Channel> Channel() const {
    return grpc::CreateChannel(server->addresses().front(), grpc::InsecureChannelCredentials());
  }

  // An attempt of the job, of which a worker shows `token`.
  AttemptId AddAttempt(int64_t job, int number, const std::string& token = "worker-secret") {
    store.Write([&](Tables& tables) {
      v1::Attempt attempt;
      attempt.set_name(AttemptName(job, number));
      tables.attempts.Begin({job, number}, attempt, HashSecret(token));
    });
    return {job, number};
  }
  void CloseAttempt(AttemptId id) {
    store.Write([&](Tables& tables) {
      v1::Attempt attempt = tables.attempts.Get(id);
      attempt.set_outcome(v1::ATTEMPT_OUTCOME_COMPLETED);
      tables.attempts.Update(id, attempt);
      tables.jobs.UpdateProgress(id.job, {});  // a change that watchers hear of
    });
  }

  TempFolder folder;
  Store store{{.folder = folder.path() / "data"}};
  EventLog log{{.format = EventLog::Format::kJson,
                .least = LogEvent::Level::kDebug,
                .path = (folder.path() / "log").string()}};
  ServerMetrics metrics{{.store = &store, .version = "0.1"}};
  Authenticator authenticator{store};
  CallGate::Options gate_options;
  FollowerPool::Options pool_options;
  Server::Options options;
  std::unique_ptr<CallGate> gate;
  std::unique_ptr<FollowerPool> pool;
  std::unique_ptr<MetricsService> metrics_service;
  std::unique_ptr<LogService> log_service;
  std::unique_ptr<AdminService> admin_service;
  std::unique_ptr<TestJobService> job_service;
  std::unique_ptr<TestWorkerService> worker_service;
  std::unique_ptr<Server> server;
};

}  // namespace syncbn::coordinator
