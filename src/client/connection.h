// A connection of a user's program to a coordinator.
//
// Every call has a deadline. A call that cannot reach the coordinator is tried again a few times;
// requests that change something carry a request id that all tries share, so that they are carried
// out once. Nothing is sent before the first call. Thread-safe.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <tuple>

#include "client/request_id.h"
#include "client/status.h"
#include "syncbn/v1/admin.grpc.pb.h"
#include "syncbn/v1/cluster.grpc.pb.h"
#include "syncbn/v1/job.grpc.pb.h"
#include "syncbn/v1/log.grpc.pb.h"
#include "syncbn/v1/metrics.grpc.pb.h"
#include "syncbn/v1/study_service.grpc.pb.h"

namespace syncbn::client {

class Connection {
 public:
  struct Options {
    // host:port
    std::string address = "127.0.0.1:7700";
    // Bearer token; empty: none.
    std::string token;
    // Certificate of the authority that signed the server's. Empty: no TLS.
    std::filesystem::path tls_ca;
    // The client's own certificate and key, for mutual TLS.
    std::filesystem::path tls_cert, tls_key;
    // Of one try of a call.
    std::chrono::milliseconds call_deadline = std::chrono::seconds(30);
    // A call is tried this often when the coordinator cannot be reached, with growing pauses.
    int tries = 4;
    std::chrono::milliseconds first_pause = std::chrono::milliseconds(100);
  };

  // Throws INVALID_ARGUMENT for an address, settings or TLS files that cannot be right (no PEM, a key
  // that does not fit, expired), and what reading the files throws. Keeps gRPC's own log lines off
  // standard error unless GRPC_VERBOSITY is set.
  explicit Connection(Options options);

  // One call, e.g. Call(&v1::JobService::Stub::GetJob, request). Throws as ThrowStatus does.
  template <typename Stub, typename Request, typename Response>
  Response Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                Request request) {
    if constexpr (requires { request.set_request_id(std::string()); }) {
      if (request.request_id().empty()) request.set_request_id(NewRequestId());
    }
    Response response;
    Retry([&](grpc::ClientContext& context) {
      response.Clear();
      return (this->stub<Stub>().*method)(&context, request, &response);
    });
    return response;
  }

  // All pages of a list in one answer.
  template <typename Stub, typename Request, typename Response>
  Response CallForAll(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                      Request request) {
    Response all;
    do {
      const Response page = Call(method, request);
      request.set_page_token(page.next_page_token());
      all.MergeFrom(page);
    } while (!request.page_token().empty());
    all.clear_next_page_token();
    return all;
  }

  // For streams; the caller prepares the context with Prepare.
  template <typename Stub>
  Stub& stub() {
    return *std::get<std::unique_ptr<Stub>>(stubs_);
  }
  // Between two tries: rests for `time`, or until there is a connection where there was none; true
  // then. gRPC makes connections only while somebody waits for one.
  bool Rest(std::chrono::milliseconds time);
  // Puts the token into the context.
  void Prepare(grpc::ClientContext& context) const;
  CallTarget target() const;

 private:
  // The largest request that the server takes; 0 where it does not say.
  int64_t MaxRequestBytes();
  void Retry(const std::function<grpc::Status(grpc::ClientContext&)>& call);

  Options options_;
  std::shared_ptr<grpc::Channel> channel_;
  std::tuple<std::unique_ptr<v1::JobService::Stub>, std::unique_ptr<v1::LogService::Stub>,
             std::unique_ptr<v1::MetricsService::Stub>, std::unique_ptr<v1::ClusterService::Stub>,
             std::unique_ptr<v1::AdminService::Stub>, std::unique_ptr<v1::StudyService::Stub>>
      stubs_;
};

}  // namespace syncbn::client
