// A coordinator made of answers that a test has put down: the services on a free port of this
// process. What it is asked is kept.
#pragma once

#include <grpcpp/server.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "syncbn/v1/admin.grpc.pb.h"
#include "syncbn/v1/cluster.grpc.pb.h"
#include "syncbn/v1/error.pb.h"
#include "syncbn/v1/job.grpc.pb.h"
#include "syncbn/v1/log.grpc.pb.h"
#include "syncbn/v1/metrics.grpc.pb.h"

namespace syncbn {

// An error as a coordinator sends it.
grpc::Status ApiStatus(grpc::StatusCode code, const std::string& reason, const std::string& message,
                       const std::map<std::string, std::string>& metadata = {},
                       const v1::RunFileErrors* errors = nullptr);

google::protobuf::Timestamp SecondsAgo(double seconds);

class FakeJobs : public v1::JobService::Service {
 public:
  // By name, "jobs/17". Guarded by `mutex`, as all below.
  std::map<std::string, v1::Job> jobs;
  std::map<std::string, std::vector<v1::Attempt>> attempts;
  std::map<std::string, std::vector<v1::Transition>> transitions;
  std::map<std::string, v1::ListCheckpointsResponse> checkpoints;
  // What ListCheckpoints ends with.
  grpc::Status no_checkpoints;
  // Answers to WatchJobs from the first on; a cursor is the number of responses already had.
  std::vector<v1::WatchJobsResponse> watch;
  // The watch breaks off after this many responses of one stream; 0: never.
  size_t break_watch_after = 0;
  // The next calls that change something end with these.
  std::vector<grpc::Status> failures;
  std::vector<v1::CreateJobRequest> created;
  std::vector<v1::CancelJobRequest> cancelled;
  std::vector<v1::ResumeJobRequest> resumed;
  std::vector<v1::ListJobsRequest> listed;
  std::vector<std::string> watch_cursors, authorizations;
  std::mutex mutex;

  grpc::Status CreateJob(grpc::ServerContext*, const v1::CreateJobRequest*, v1::Job*) override;
  grpc::Status GetJob(grpc::ServerContext*, const v1::GetJobRequest*, v1::Job*) override;
  grpc::Status ListJobs(grpc::ServerContext*, const v1::ListJobsRequest*, v1::ListJobsResponse*) override;
  grpc::Status CancelJob(grpc::ServerContext*, const v1::CancelJobRequest*, v1::Job*) override;
  grpc::Status ResumeJob(grpc::ServerContext*, const v1::ResumeJobRequest*, v1::Job*) override;
  grpc::Status DeleteJob(grpc::ServerContext*, const v1::DeleteJobRequest*,
                         google::protobuf::Empty*) override;
  grpc::Status ListAttempts(grpc::ServerContext*, const v1::ListAttemptsRequest*,
                            v1::ListAttemptsResponse*) override;
  grpc::Status ListTransitions(grpc::ServerContext*, const v1::ListTransitionsRequest*,
                               v1::ListTransitionsResponse*) override;
  grpc::Status ListCheckpoints(grpc::ServerContext*, const v1::ListCheckpointsRequest*,
                               v1::ListCheckpointsResponse*) override;
  grpc::Status WatchJobs(grpc::ServerContext*, const v1::WatchJobsRequest*,
                         grpc::ServerWriter<v1::WatchJobsResponse>*) override;

 private:
  // The next of `failures`, or OK. mutex held.
  grpc::Status TakeFailure(grpc::ServerContext* context);
  grpc::Status Find(const std::string& name, v1::Job* job);
};

class FakeLogs : public v1::LogService::Service {
 public:
  // By name; complete.
  std::map<std::string, std::string> logs;
  // Most bytes of a chunk.
  size_t chunk = 1000;
  // The stream breaks off after this many chunks; 0: never.
  size_t break_after = 0;
  std::mutex mutex;

  grpc::Status ReadLog(grpc::ServerContext*, const v1::ReadLogRequest*, v1::LogChunk*) override;
  grpc::Status FollowLog(grpc::ServerContext*, const v1::FollowLogRequest*,
                         grpc::ServerWriter<v1::FollowLogResponse>*) override;

 private:
  v1::LogChunk ChunkOf(const std::string& log, int64_t offset) const;
};

class FakeMetrics : public v1::MetricsService::Service {
 public:
  v1::ListSeriesResponse series;
  // Those of the names asked for, of every job, with all their points.
  v1::QueryMetricsResponse query;
  // How many attempts each job has had, by its name; one where none stands here.
  std::map<std::string, int> attempts;
  std::vector<v1::QueryMetricsRequest> queried;
  std::mutex mutex;

  grpc::Status ListSeries(grpc::ServerContext*, const v1::ListSeriesRequest*,
                          v1::ListSeriesResponse* response) override;
  grpc::Status QueryMetrics(grpc::ServerContext*, const v1::QueryMetricsRequest* request,
                            v1::QueryMetricsResponse* response) override;
};

class FakeCluster : public v1::ClusterService::Service {
 public:
  v1::ListHostsResponse hosts;
  v1::Queue queue;
  v1::Server server;
  v1::BackUpStoreResponse backup;

  grpc::Status ListHosts(grpc::ServerContext*, const v1::ListHostsRequest*,
                         v1::ListHostsResponse* response) override;
  grpc::Status DrainHost(grpc::ServerContext*, const v1::DrainHostRequest* request,
                         v1::Host* response) override;
  grpc::Status GetQueue(grpc::ServerContext*, const v1::GetQueueRequest*, v1::Queue* response) override;
  grpc::Status GetServer(grpc::ServerContext*, const v1::GetServerRequest*,
                         v1::Server* response) override;
  grpc::Status BackUpStore(grpc::ServerContext*, const v1::BackUpStoreRequest*,
                           v1::BackUpStoreResponse* response) override;
};

class FakeAdmin : public v1::AdminService::Service {
 public:
  v1::ListTokensResponse tokens;
  v1::ListAuditResponse audit;

  grpc::Status ListTokens(grpc::ServerContext*, const v1::ListTokensRequest*,
                          v1::ListTokensResponse* response) override;
  grpc::Status ListAudit(grpc::ServerContext*, const v1::ListAuditRequest*,
                         v1::ListAuditResponse* response) override;
};

class FakeCoordinator {
 public:
  FakeCoordinator();
  ~FakeCoordinator();
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  // Stops serving, then serves again on the same port.
  void Stop();
  void Start();

  FakeJobs jobs;
  FakeLogs logs;
  FakeMetrics metrics;
  FakeCluster cluster;
  FakeAdmin admin;

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace syncbn
