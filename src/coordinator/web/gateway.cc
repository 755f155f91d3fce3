#include "coordinator/web/gateway.h"

#include <grpcpp/generic/generic_stub.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "base/untrusted_json.h"
#include "coordinator/api_error.h"
#include "coordinator/service/inside_key.h"
#include "coordinator/service/status.h"
#include "coordinator/web/api_method.h"
#include "coordinator/web/event_stream.h"
#include "coordinator/web/gateway_call.h"

namespace syncbn::coordinator {
namespace {

// For one call; what clients of gRPC say themselves.
constexpr std::chrono::seconds kDeadline{30};
constexpr const char* kEmpty = "{}";
// They change nothing, and of an empty message say what is missing.
constexpr const char* kHarmless = "JobService/GetJob";
constexpr const char* kHarmlessForReports = "StudyService/GetStudy";

// One call that is under way; deletes itself at its end.
struct UnaryCall {
  UnaryCall(ApiMethod asked, std::shared_ptr<void> opened)
      : open(std::move(opened)), method(std::move(asked)) {}

  const std::shared_ptr<void> open;  // first, so that it ends last
  ApiMethod method;
  grpc::ClientContext context;
  grpc::ByteBuffer request, response;
  std::shared_ptr<HttpReply> reply;
};

[[noreturn]] void FailMessage(const std::string& what) {
  throw ApiError(ErrorCode::kInvalidArgument, "MESSAGE_INVALID", what);
}

bool IsId(const std::string& id) {
  return !id.empty() && id.size() <= 32 && std::all_of(id.begin(), id.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

std::vector<EventStream::Part> PartsOf(const std::string& body) {
  nlohmann::json json;
  try {
    json = ParseUntrustedJson(body);
  } catch (const JsonFault& fault) {
    FailMessage("the body cannot be taken: " + fault.message());
  }
  const auto list = json.is_object() ? json.find("streams") : json.end();
  if (list == json.end() || !list->is_array() || list->empty() ||
      list->size() > Gateway::kMostStreams) {
    FailMessage("the body is not {\"streams\": [...]} with 1 to " +
                std::to_string(Gateway::kMostStreams) + " of them");
  }
  std::vector<EventStream::Part> parts;
  std::set<std::string> ids;
  for (const nlohmann::json& one : *list) {
    const bool good = one.is_object() && one.contains("id") && one["id"].is_string() &&
                      one.contains("method") && one["method"].is_string();
    if (!good || !IsId(one["id"]) || !ids.insert(one["id"]).second)
      FailMessage("each stream has a method, and an id of its own: small letters, digits, - _");
    const ApiMethod method(one["method"].get<std::string>(), true);
    grpc::ByteBuffer request =
        method.Request(one.contains("request") ? one["request"].dump() : kEmpty);
    parts.push_back({.id = one["id"], .method = method, .request = std::move(request)});
  }
  return parts;
}

}  // namespace

void SetCaller(grpc::ClientContext& context, const HttpRequest& request) {
  context.AddMetadata(kInsideKeyHeader, InsideKey());
  context.AddMetadata(kInsidePeerHeader, request.peer);
  // An answer is no header here: every fault of a run file fits.
  context.AddMetadata("syncbn-max-details", std::to_string(kMostDetails));
  const std::string* authorization = request.Header("authorization");
  if (authorization == nullptr) return;
  const bool printable = std::all_of(authorization->begin(), authorization->end(),
                                     [](unsigned char c) { return c >= ' ' && c < 0x7f; });
  if (!printable || authorization->size() > 1024) {
    throw ApiError(ErrorCode::kPermissionDenied, "UNAUTHENTICATED",
                   "the authorization header is not 'Bearer TOKEN'");
  }
  context.AddMetadata("authorization", *authorization);
}

HttpAnswer JsonAnswer(int status, std::string json) {
  return {.status = status, .type = "application/json", .body = std::move(json)};
}

HttpAnswer StatusAnswer(const grpc::Status& status) {
  return JsonAnswer(HttpStatusOf(status.error_code()), StatusJson(status));
}

void Gateway::Answer(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) const {
  try {
    if (request.path == std::string(kPrefix) + "stream") {
      Stream(request, reply);
    } else {
      Call(request.path.substr(kPrefix.size()), request.body.empty() ? kEmpty : request.body,
           request, reply);
    }
  } catch (...) {
    reply->Send(StatusAnswer(ToStatus(std::current_exception())));
  }
}

void Gateway::TurnAway(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) const {
  // What streams, and a report, is no method that one message calls; what is none is said of any
  // caller, as the schema is no secret.
  std::string name = request.path.substr(std::min(request.path.size(), kPrefix.size()));
  if (name == "report") name = kHarmlessForReports;
  if (name.find('/') == std::string::npos) name = kHarmless;
  try {
    Call(name, kEmpty, request, reply);
  } catch (...) {
    reply->Send(StatusAnswer(ToStatus(std::current_exception())));
  }
}

void Gateway::Call(const std::string& method, const std::string& json, const HttpRequest& request,
                   const std::shared_ptr<HttpReply>& reply) const {
  auto call = std::make_shared<UnaryCall>(ApiMethod(method, false), calls_.Begin());
  call->request = call->method.Request(json);
  SetCaller(call->context, request);
  call->context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  call->reply = reply;
  // Whoever has left does not wait for the answer; what was asked for is done all the same.
  grpc::GenericStub(channel_).UnaryCall(
      &call->context, call->method.path(), {}, &call->request, &call->response,
      [call](const grpc::Status& status) {
        try {
          call->reply->Send(status.ok() ? JsonAnswer(200, call->method.Response(call->response))
                                        : StatusAnswer(status));
        } catch (...) {
          call->reply->Send(StatusAnswer(ToStatus(std::current_exception())));
        }
      });
}

void Gateway::Stream(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) const {
  EventStream::Start(channel_, PartsOf(request.body), request, reply, calls_.Begin());
}

}  // namespace syncbn::coordinator
