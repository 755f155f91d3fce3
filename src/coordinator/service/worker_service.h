// WorkerService over the controller (syncbn/v1/worker.proto is the contract). Every call is
// admitted with the token of its attempt and speaks of no other. Thread-safe.
#pragma once

#include "coordinator/control/controller.h"
#include "coordinator/service/call_gate.h"
#include "coordinator/service/metric_intake.h"
#include "syncbn/v1/worker.grpc.pb.h"

namespace syncbn::coordinator {

class WorkerService final
    : public v1::WorkerService::WithCallbackMethod_ReportMetrics<v1::WorkerService::Service> {
 public:
  struct Options {
    Controller* controller = nullptr;
    CallGate* gate = nullptr;
    // What workers are told.
    std::chrono::microseconds heartbeat_interval = std::chrono::seconds(5);
  };

  explicit WorkerService(Options options)
      : options_(std::move(options)), intake_(*options_.controller, *options_.gate) {}

  grpc::Status Register(grpc::ServerContext* context, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override;
  grpc::Status Heartbeat(grpc::ServerContext* context, const v1::HeartbeatRequest* request,
                         v1::HeartbeatResponse* response) override;
  grpc::ServerBidiReactor<v1::ReportMetricsRequest, v1::ReportMetricsResponse>* ReportMetrics(
      grpc::CallbackServerContext* context) override {
    return intake_.Take(*context);
  }
  grpc::Status ReportExit(grpc::ServerContext* context, const v1::ReportExitRequest* request,
                          v1::ReportExitResponse* response) override;

 private:
  Options options_;
  MetricIntake intake_;
};

}  // namespace syncbn::coordinator
