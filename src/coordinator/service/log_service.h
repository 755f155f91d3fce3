// LogService (proto/syncbn/v1/log.proto): what the processes of attempts printed, read from the
// attempts' folders.
#pragma once

#include "coordinator/service/follow.h"
#include "coordinator/store/store.h"
#include "syncbn/v1/log.grpc.pb.h"

namespace syncbn::coordinator {

class LogService final
    : public v1::LogService::WithCallbackMethod_FollowLog<v1::LogService::Service> {
 public:
  // All outlive the service.
  LogService(Store& store, CallGate& gate, FollowerPool& pool)
      : store_(store), gate_(gate), pool_(pool) {}

  grpc::Status ListLogs(grpc::ServerContext* context, const v1::ListLogsRequest* request,
                        v1::ListLogsResponse* response) override;
  grpc::Status ReadLog(grpc::ServerContext* context, const v1::ReadLogRequest* request,
                       v1::LogChunk* response) override;
  grpc::ServerWriteReactor<v1::FollowLogResponse>* FollowLog(
      grpc::CallbackServerContext* context, const v1::FollowLogRequest* request) override;

 private:
  Store& store_;
  CallGate& gate_;
  FollowerPool& pool_;
};

}  // namespace syncbn::coordinator
