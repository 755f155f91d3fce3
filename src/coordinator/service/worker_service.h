// WorkerService over the controller (syncbn/v1/worker.proto is the contract). Every call is
// admitted with the token of its attempt and speaks of no other. Thread-safe.
#pragma once

#include "coordinator/control/controller.h"
#include "coordinator/service/call_gate.h"
#include "syncbn/v1/worker.grpc.pb.h"

namespace syncbn::coordinator {

class WorkerService final : public v1::WorkerService::Service {
 public:
  struct Options {
    Controller* controller = nullptr;
    CallGate* gate = nullptr;
    // What workers are told.
    std::chrono::microseconds heartbeat_interval = std::chrono::seconds(5);
  };

  explicit WorkerService(Options options) : options_(std::move(options)) {}

  grpc::Status Register(grpc::ServerContext* context, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override;
  grpc::Status Heartbeat(grpc::ServerContext* context, const v1::HeartbeatRequest* request,
                         v1::HeartbeatResponse* response) override;
  grpc::Status ReportMetrics(grpc::ServerContext* context,
                             grpc::ServerReaderWriter<v1::ReportMetricsResponse,
                                                      v1::ReportMetricsRequest>* stream) override;
  grpc::Status ReportExit(grpc::ServerContext* context, const v1::ReportExitRequest* request,
                          v1::ReportExitResponse* response) override;

 private:
  Options options_;
};

}  // namespace syncbn::coordinator
