// The API over HTTP: every call goes through a channel inside the process to the same gRPC server
// as all others, so that who may do what, limits, the audit table and what a call does are in one
// place.
//
//   POST /api/v1/JobService/GetJob   {"name": "jobs/1"}   one call, request and answer as JSON
//   POST /api/v1/stream              {"streams": [{"id": "log", "method": "LogService/FollowLog",
//                                      "request": {...}}, ...]}   server-sent events until all have
//                                      ended
//
// An event is named after its stream; its data are {"message": ...}, or {"end": ...} with the
// status where the stream ends: {} or as in an answer that is an error (StatusJson in
// api_method.h). The next message of a stream is asked for when the client has taken the last: a
// slow client holds one of each.
//
// Thread-safe.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "coordinator/service/http_message.h"
#include "coordinator/service/http_reply.h"
#include "coordinator/web/gateway_call.h"

namespace syncbn::coordinator {

class Gateway {
 public:
  static constexpr std::string_view kPrefix = "/api/v1/";
  // Of one page.
  static constexpr size_t kMostStreams = 8;

  explicit Gateway(std::shared_ptr<grpc::Channel> channel) : channel_(std::move(channel)) {}
  // Waits for the calls that are under way: end those who wait for them, and the server, first.
  ~Gateway() { calls_.WaitForAll(); }

  // Answers what is below kPrefix. Who the caller is follows from the header `authorization`.
  void Answer(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) const;
  // For a caller whom the server does not know: nothing of the body is looked at. The method is
  // called with an empty message, so that the server refuses, counts and records it as all calls.
  void TurnAway(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) const;

 private:
  // Of the method with this name. Throws what refuses it here.
  void Call(const std::string& method, const std::string& json, const HttpRequest& request,
            const std::shared_ptr<HttpReply>& reply) const;
  void Stream(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) const;

  std::shared_ptr<grpc::Channel> channel_;
  mutable OpenCalls calls_;
};

}  // namespace syncbn::coordinator
