#include "coordinator/service/worker_service.h"

#include "coordinator/api_error.h"
#include "coordinator/service/submission.h"

namespace syncbn::coordinator {
namespace {

// The attempt that a rank says it belongs to, which must be the one whose token it showed.
AttemptId AttemptOf(const Call& call, const v1::RankName& rank) {
  const AttemptId id = ParseAttemptName(rank.attempt(), "rank.attempt");
  call.CheckAttempt(id);
  return id;
}

}  // namespace

grpc::Status WorkerService::Register(grpc::ServerContext* context,
                                     const v1::RegisterRequest* request,
                                     v1::RegisterResponse* response) {
  return options_.gate->Run(*context, "WorkerService/Register", request, [&](Call& call) {
    const AttemptId id = AttemptOf(call, request->rank());
    CheckText("host", request->host(), 255);
    response->set_acknowledged(
        options_.controller->Register(id, request->rank().rank(),
                                      {.processes = request->processes(),
                                       .host = request->host(),
                                       .pid = request->pid(),
                                       .total_steps = request->total_steps()}));
    *response->mutable_heartbeat_interval() = ToProto(options_.heartbeat_interval);
  });
}

grpc::Status WorkerService::Heartbeat(grpc::ServerContext* context,
                                      const v1::HeartbeatRequest* request,
                                      v1::HeartbeatResponse* response) {
  return options_.gate->Run(*context, "WorkerService/Heartbeat", request, [&](Call& call) {
    const AttemptId id = AttemptOf(call, request->rank());
    CheckText("phase", request->phase(), 255);
    CheckText("reduction_name", request->reduction_name(), 1024);
    Controller::WorkerReport report{.heartbeat = {.phase = request->phase(),
                                                  .step = request->step(),
                                                  .epoch = request->epoch(),
                                                  .reduction = request->reduction(),
                                                  .reduction_name = request->reduction_name(),
                                                  .progress = request->progress()},
                                    .lost_points = request->lost_points()};
    if (request->has_checkpoint_step()) report.checkpoint_step = request->checkpoint_step();
    const auto answer = options_.controller->Heartbeat(id, request->rank().rank(), report);
    response->set_desired_state(static_cast<v1::Job::DesiredState>(answer.desired));
    response->set_register_again(answer.register_again);
    *response->mutable_heartbeat_interval() = ToProto(options_.heartbeat_interval);
  });
}

grpc::Status WorkerService::ReportExit(grpc::ServerContext* context,
                                       const v1::ReportExitRequest* request,
                                       v1::ReportExitResponse* /*response*/) {
  return options_.gate->Run(*context, "WorkerService/ReportExit", request, [&](Call& call) {
    const AttemptId id = AttemptOf(call, request->rank());
    CheckText("exit.host", request->exit().host(), 255);
    options_.controller->ReportExit(id, request->rank().rank(), request->exit());
  });
}

}  // namespace syncbn::coordinator
