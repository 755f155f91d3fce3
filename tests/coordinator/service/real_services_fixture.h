// All services as they are, over a real store and controller; only the launcher is not real.
#pragma once

#include "coordinator/service/cluster_service.h"
#include "coordinator/service/job_service.h"
#include "coordinator/service/worker_service.h"
#include "tests/coordinator/control/controller_fixture.h"
#include "tests/coordinator/service/service_fixture.h"
#include "tests/support/small_run.h"

namespace syncbn::coordinator {

class RealServicesTest : public ControllerTest {
 protected:
  RealServicesTest() {
    std::filesystem::create_directories(folder.path() / "output");
    gate.SetServing(true);
    server.SetServing(true);
  }
  ~RealServicesTest() override {
    pool.Stop();
    server.Shutdown(0ms);
  }

  template <typename Stub, typename Request, typename Response>
  grpc::Status Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, const std::string& token = "") {
    Context context(token);
    Response response;
    return (Stub(channel).*method)(&context, request, &response);
  }
  // Of a stream from the server.
  template <typename Stub, typename Request, typename Response>
  grpc::Status Watch(std::unique_ptr<grpc::ClientReader<Response>> (Stub::*method)(
                         grpc::ClientContext*, const Request&),
                     const Request& request) {
    Context context;
    Stub stub(channel);
    const auto reader = (stub.*method)(&context, request);
    Response response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  }
  grpc::Status Report(const v1::ReportMetricsRequest& request, const std::string& token) {
    Context context(token);
    v1::WorkerService::Stub stub(channel);
    const auto stream = stub.ReportMetrics(&context);
    stream->Write(request);
    stream->WritesDone();
    v1::ReportMetricsResponse response;
    while (stream->Read(&response)) {
    }
    return stream->Finish();
  }
  Authenticator authenticator{store};
  EventLog log{{.path = (folder.path() / "log").string()}};
  ServerMetrics metrics{{.store = &store, .version = "0.1"}};
  CallGate gate{
      {.store = &store, .authenticator = &authenticator, .metrics = &metrics, .log = &log}};
  FollowerPool pool{{}};
  JobWatcher watcher{store, gate, pool,
                     [this](const JobRecord& record) { return controller().View(record); }};
  JobService jobs{
      {.store = &store,
       .controller = &controller(),
       .submission = {.output_root = folder.path() / "output", .allowed_variables = {"LEVEL"}},
       .ownership = {.teams = {{"anna", "bert"}}},
       .gate = &gate,
       .watcher = &watcher}};
  ClusterService hosts{{.store = &store, .controller = &controller(), .gate = &gate}};
  WorkerService workers{{.controller = &controller(), .gate = &gate}};
  MetricsService series{store, gate, pool};
  LogService logs{store, gate, pool};
  AdminService admin{gate};
  Server server{
      {.addresses = {"127.0.0.1:0"}}, gate, {&jobs, &hosts, &workers, &series, &logs, &admin}};
  std::shared_ptr<grpc::Channel> channel =
      grpc::CreateChannel(server.addresses().front(), grpc::InsecureChannelCredentials());
};

}  // namespace syncbn::coordinator
