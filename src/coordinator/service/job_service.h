// JobService over the controller and the store (syncbn/v1/job.proto is the contract). Thread-safe.
#pragma once

#include "coordinator/control/controller.h"
#include "coordinator/service/call_gate.h"
#include "coordinator/service/job_watcher.h"
#include "coordinator/service/ownership.h"
#include "coordinator/service/submission.h"
#include "syncbn/v1/job.grpc.pb.h"

namespace syncbn::coordinator {

class JobService final
    : public v1::JobService::WithCallbackMethod_WatchJobs<v1::JobService::Service> {
 public:
  struct Options {
    Store* store = nullptr;
    Controller* controller = nullptr;
    SubmissionPolicy submission;
    OwnershipPolicy ownership;
    CallGate* gate = nullptr;
    JobWatcher* watcher = nullptr;
  };

  explicit JobService(Options options) : options_(std::move(options)) {}

  grpc::Status CreateJob(grpc::ServerContext* context, const v1::CreateJobRequest* request,
                         v1::Job* response) override;
  grpc::Status GetJob(grpc::ServerContext* context, const v1::GetJobRequest* request,
                      v1::Job* response) override;
  grpc::Status ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override;
  grpc::Status CancelJob(grpc::ServerContext* context, const v1::CancelJobRequest* request,
                         v1::Job* response) override;
  grpc::Status PauseJob(grpc::ServerContext* context, const v1::PauseJobRequest* request,
                        v1::Job* response) override;
  grpc::Status ResumeJob(grpc::ServerContext* context, const v1::ResumeJobRequest* request,
                         v1::Job* response) override;
  grpc::Status RetryJob(grpc::ServerContext* context, const v1::RetryJobRequest* request,
                        v1::Job* response) override;
  grpc::Status DeleteJob(grpc::ServerContext* context, const v1::DeleteJobRequest* request,
                         google::protobuf::Empty* response) override;
  grpc::ServerWriteReactor<v1::WatchJobsResponse>* WatchJobs(
      grpc::CallbackServerContext* context, const v1::WatchJobsRequest* request) override;
  grpc::Status ListAttempts(grpc::ServerContext* context, const v1::ListAttemptsRequest* request,
                            v1::ListAttemptsResponse* response) override;
  grpc::Status ListTransitions(grpc::ServerContext* context,
                               const v1::ListTransitionsRequest* request,
                               v1::ListTransitionsResponse* response) override;
  grpc::Status ListCheckpoints(grpc::ServerContext* context,
                               const v1::ListCheckpointsRequest* request,
                               v1::ListCheckpointsResponse* response) override;

 private:
  // What the four verbs on a job have in common; `action` says what its caller may not do ("cancel
  // it").
  template <typename Request>
  grpc::Status Act(grpc::ServerContext& context, std::string_view method, const std::string& action,
                   const Request& request, VerbRequest verb, v1::Job& response);
  void CheckOwner(const Caller& caller, int64_t job, const std::string& action,
                  std::string_view method) const;
  // New resources for a job that has a run file already.
  v1::Resources CheckNewResources(const std::string& job, const v1::Resources& resources) const;

  Options options_;
};

}  // namespace syncbn::coordinator
