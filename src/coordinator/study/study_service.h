// StudyService over the store and the drivers (syncbn/v1/study_service.proto is the contract).
// Thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "coordinator/service/call_gate.h"
#include "coordinator/service/ownership.h"
#include "coordinator/study/study_drivers.h"
#include "coordinator/study/study_submission.h"
#include "syncbn/v1/study_service.grpc.pb.h"

namespace syncbn::coordinator {

class StudyService final : public v1::StudyService::Service {
 public:
  struct Options {
    StudyDrivers* drivers = nullptr;
    OwnershipPolicy ownership;
    SubmitterLimits submitter;
    // Of all submitters together, also of "local".
    int64_t most_open = 200;
    CallGate* gate = nullptr;
  };

  explicit StudyService(Options options) : options_(std::move(options)) {}

  grpc::Status CreateStudy(grpc::ServerContext* context, const v1::CreateStudyRequest* request,
                           v1::Study* response) override;
  grpc::Status GetStudy(grpc::ServerContext* context, const v1::GetStudyRequest* request,
                        v1::Study* response) override;
  grpc::Status ListStudies(grpc::ServerContext* context, const v1::ListStudiesRequest* request,
                           v1::ListStudiesResponse* response) override;
  grpc::Status CancelStudy(grpc::ServerContext* context, const v1::CancelStudyRequest* request,
                           v1::Study* response) override;
  grpc::Status PauseStudy(grpc::ServerContext* context, const v1::PauseStudyRequest* request,
                          v1::Study* response) override;
  grpc::Status ResumeStudy(grpc::ServerContext* context, const v1::ResumeStudyRequest* request,
                           v1::Study* response) override;
  grpc::Status RetryStudy(grpc::ServerContext* context, const v1::RetryStudyRequest* request,
                          v1::Study* response) override;
  grpc::Status DeleteStudy(grpc::ServerContext* context, const v1::DeleteStudyRequest* request,
                           google::protobuf::Empty* response) override;
  grpc::Status ReadStudyResults(grpc::ServerContext* context,
                                const v1::ReadStudyResultsRequest* request,
                                v1::StudyResults* response) override;

 private:
  struct Verb {
    std::string name;
    // The state that follows; nothing where the verb does not apply.
    std::optional<StudyState> (*next)(const StudyRecord& record);
    // Why it does not.
    std::string refusal = "there is nothing to " + name;
    // What else is stored, in the same write; empty: nothing.
    std::function<void(Tables&, const StudyRecord&)> also = {};
  };
  template <typename Request>
  grpc::Status Act(grpc::ServerContext& context, std::string_view method, const Verb& verb,
                   const Request& request, v1::Study& response);
  void CheckOwner(const Caller& caller, int64_t study, const std::string& action,
                  std::string_view method) const;
  void CheckQuota(const Tables& tables, const std::string& submitter) const;
  // Its number; nothing where the request came before.
  std::optional<int64_t> Insert(const StudySubmission& submission, const RequestInfo& info,
                                v1::Study& answer);
  Store& store() const { return *options_.drivers->options().store; }

  const Options options_;
};

}  // namespace syncbn::coordinator
