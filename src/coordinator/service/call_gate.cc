#include "coordinator/service/call_gate.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/utf8.h"
#include "coordinator/control/secret.h"
#include "coordinator/field_check.h"
#include "coordinator/service/inside_key.h"
#include "coordinator/service/status.h"
#include "rpc/status.h"

namespace syncbn::coordinator {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr size_t kMostResource = 200, kMostDetail = 500;

const std::string* FindText(const Message& message, const char* name) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr || field->is_repeated() || field->type() != FieldDescriptor::TYPE_STRING) {
    return nullptr;
  }
  static thread_local std::string scratch;
  return &message.GetReflection()->GetStringReference(message, field, &scratch);
}

// The resource that a request names; empty where it names none.
std::string ResourceOf(const Message& message) {
  for (const char* name : {"name", "parent", "job", "attempt"}) {
    if (const std::string* text = FindText(message, name); text != nullptr && !text->empty()) {
      return Utf8Beginning(*text, kMostResource);
    }
  }
  const FieldDescriptor* rank = message.GetDescriptor()->FindFieldByName("rank");
  if (rank == nullptr || rank->is_repeated() || rank->type() != FieldDescriptor::TYPE_MESSAGE) {
    return "";
  }
  return ResourceOf(message.GetReflection()->GetMessage(message, rank));
}

std::optional<std::string> HeaderOf(const grpc::ServerContextBase& context, const char* name) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(name);
  if (found == metadata.end()) return std::nullopt;
  return std::string(found->second.data(), found->second.size());
}

// Of a call from inside the process what it says itself (coordinator/web), of others what gRPC
// says.
std::string PeerOf(const grpc::ServerContextBase& context) {
  const bool inside = HeaderOf(context, kInsideKeyHeader) == InsideKey();
  return inside ? HeaderOf(context, kInsidePeerHeader).value_or("") : context.peer();
}

// The details that the client says it takes; what every client takes where it says nothing.
size_t MaxDetailsOf(const grpc::ServerContextBase& context) {
  const std::string text = HeaderOf(context, "syncbn-max-details").value_or("");
  size_t bytes = 0;
  const auto [at, code] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  if (code != std::errc()) return kUsualDetails;
  return std::clamp(bytes, kUsualDetails, kMostDetails);
}

// Of "ipv4:127.0.0.1:54321" without the port, which is another for every connection.
std::string HostOfPeer(const std::string& peer) {
  const size_t port = peer.rfind(':');
  return port == std::string::npos ? peer : peer.substr(0, port);
}

std::string MillisecondsText(std::chrono::microseconds time) {
  return std::to_string((time.count() + 999) / 1000);
}

std::string AccessText(Access access) {
  if (access == Access::kWorker) return "the token of a job's attempt";
  return "the role " + std::string(RoleName(static_cast<Role>(access)));
}

// By which the one who met a fault and the one who reads the log find each other.
std::string NewFaultNumber() {
  return NewSecret().substr(0, 8);
}

// Of what a user or a worker is refused before anything is done.
bool IsRefusal(grpc::StatusCode code) {
  return code == grpc::StatusCode::UNAUTHENTICATED || code == grpc::StatusCode::PERMISSION_DENIED;
}

}  // namespace

CallGate::CallGate(Options options)
    : options_(std::move(options)),
      user_rate_(options_.user_rate),
      worker_rate_(options_.worker_rate),
      refusal_rate_(options_.refusal_rate) {}

void CallGate::Audit(const AuditRecord& entry) {
  try {
    options_.store->Write([&](Tables& tables) { tables.audit.Add(entry); });
  } catch (const std::exception& failure) {
    options_.log->Write({.level = LogEvent::Level::kError,
                         .event = "audit.failed",
                         .message = failure.what(),
                         .actor = entry.actor,
                         .fields = {{"method", entry.method}, {"resource", entry.resource}}});
  }
}

void CallGate::TakeStream(const Caller& caller) {
  std::lock_guard lock(mutex_);
  const bool is_worker = caller.attempt.has_value();
  Streams& streams = is_worker ? worker_streams_ : user_streams_;
  const int most = is_worker ? options_.streams_per_attempt : options_.streams_per_caller;
  const int most_in_all = is_worker ? options_.worker_streams : options_.streams;
  int& own = streams.of[caller.name];
  if (own >= most || streams.all >= most_in_all) {
    const bool personal = own >= most;
    if (own == 0) streams.of.erase(caller.name);
    throw ApiError(ErrorCode::kResourceExhausted, "RATE_LIMITED",
                   personal ? "'" + caller.name + "' has " + std::to_string(most) +
                                  " open streams, which is the limit: end one of them"
                            : "this server has " + std::to_string(most_in_all) +
                                  " open streams of " + (is_worker ? "workers" : "users") +
                                  ", which is the limit: try again later",
                   {{"limit", "streams"}, {"retry_after_ms", "5000"}});
  }
  ++own;
  ++streams.all;
}

void CallGate::ReturnStream(const Caller& caller) {
  std::lock_guard lock(mutex_);
  Streams& streams = caller.attempt ? worker_streams_ : user_streams_;
  --streams.all;
  const auto own = streams.of.find(caller.name);
  if (own != streams.of.end() && --own->second == 0) streams.of.erase(own);
}

CallGate::Call::Call(CallGate& gate, const grpc::ServerContextBase& context,
                     std::string_view method)
    : gate_(gate),
      context_(&context),
      method_(method),
      rule_(FindMethodRule(method)),
      start_(gate.options_.clock->Monotonic()),
      max_details_(MaxDetailsOf(context)) {}

CallGate::Call::~Call() {
  if (!ended_) End(grpc::Status(grpc::StatusCode::CANCELLED, "the client has left"));
}

void CallGate::Call::Admit(const Message* request) {
  if (rule_ == nullptr) {
    throw Error(ErrorCode::kInternal,
                std::string(method_) + " is not in the table of methods: a fault of this program");
  }
  if (request != nullptr) resource_ = ResourceOf(*request);
  caller_.peer = PeerOf(*context_);
  if (!gate_.serving()) {
    throw ApiError(ErrorCode::kUnavailable, "NOT_SERVING",
                   "the coordinator is starting or stopping: try again in a moment",
                   {{"retry_after_ms", "1000"}});
  }
  authorization_ = HeaderOf(*context_, "authorization");
  caller_ = gate_.options_.authenticator->Identify(authorization_, caller_.peer);
  known_ = true;
  if (gate_.on_known_) gate_.on_known_(caller_.peer);
  CheckRole();
  CheckRate();
  if (request != nullptr) {
    const auto bytes = static_cast<int64_t>(request->ByteSizeLong());
    if (bytes > gate_.options_.max_message_bytes) {
      throw ApiError(ErrorCode::kResourceExhausted, "TOO_LARGE",
                     "the request has " + std::to_string(bytes) +
                         " bytes; this server takes at most " +
                         std::to_string(gate_.options_.max_message_bytes) +
                         ": send less, e.g. a shorter run file",
                     {{"bytes", std::to_string(bytes)},
                      {"limit", std::to_string(gate_.options_.max_message_bytes)}});
    }
    CheckFields(*request);
  }
  if (rule_->stream) {
    gate_.TakeStream(caller_);
    in_stream_ = true;
    gate_.options_.metrics->AddStream(method_, 1);
  }
  admitted_ = true;
}

void CallGate::Call::CheckStillAllowed() const {
  gate_.options_.authenticator->Identify(authorization_, caller_.peer);
}

void CallGate::Call::CheckRole() const {
  const bool is_worker = caller_.attempt.has_value();
  const bool allowed =
      rule_->access == Access::kWorker
          ? is_worker
          : !is_worker && static_cast<int>(caller_.role) >= static_cast<int>(rule_->access);
  if (allowed) return;
  const std::string has = is_worker ? "the token of " + caller_.name
                                    : "'" + caller_.name + "' has the role " +
                                          std::string(RoleName(caller_.role));
  throw ApiError(ErrorCode::kPermissionDenied, "ROLE_TOO_LOW",
                 std::string(method_) + " needs " + AccessText(rule_->access) + "; " +
                     (is_worker ? "this is " : "") + has,
                 {{"method", std::string(method_)},
                  {"role", is_worker ? "worker" : std::string(RoleName(caller_.role))}});
}

void CallGate::Call::CheckRate() {
  // Nobody is kept from one's own machine.
  if (!caller_.attempt && caller_.name == "local") return;
  RateLimiter& limiter = caller_.attempt ? gate_.worker_rate_ : gate_.user_rate_;
  const auto wait = limiter.Take(caller_.name, gate_.options_.clock->Monotonic());
  if (!wait) return;
  const RateLimit& limit = caller_.attempt ? gate_.options_.worker_rate : gate_.options_.user_rate;
  throw ApiError(ErrorCode::kResourceExhausted, "RATE_LIMITED",
                 "'" + caller_.name + "' makes more than " +
                     std::to_string(static_cast<int64_t>(limit.per_second)) +
                     " calls a second: try again in " + MillisecondsText(*wait) + " ms",
                 {{"limit", "calls"}, {"retry_after_ms", MillisecondsText(*wait)}});
}

void CallGate::Call::CheckAttempt(AttemptId id) const {
  if (caller_.attempt && caller_.attempt->job == id.job && caller_.attempt->attempt == id.attempt) {
    return;
  }
  throw ApiError(ErrorCode::kPermissionDenied, "ROLE_TOO_LOW",
                 "this token is good for " + caller_.name + " only, not for " +
                     AttemptName(id.job, id.attempt),
                 {{"method", std::string(method_)}, {"role", "worker"}});
}

grpc::Status CallGate::Call::End(const grpc::Status& status) {
  Record(status, status.error_message(), false);
  return status;
}

grpc::Status CallGate::Call::End(const std::exception_ptr& thrown) {
  const std::string fault = NewFaultNumber();
  const grpc::Status status = ToStatus(
      thrown, max_details_, gate_.options_.log->place() + " tells more, under fault " + fault);
  std::string detail = status.error_message();
  bool is_bug = status.error_code() == grpc::StatusCode::INTERNAL;
  try {
    std::rethrow_exception(thrown);
  } catch (const Error&) {
  } catch (const std::exception& other) {
    detail = other.what();
    is_bug = true;
    fault_ = fault;
  } catch (...) {
    is_bug = true;
    fault_ = fault;
  }
  Record(status, detail, is_bug);
  return status;
}

void CallGate::Call::Record(const grpc::Status& status, const std::string& detail, bool is_bug) {
  ended_ = true;
  const grpc::StatusCode code = status.error_code();
  const bool stream = rule_ != nullptr && rule_->stream;
  if (in_stream_) {
    in_stream_ = false;
    gate_.ReturnStream(caller_);
    gate_.options_.metrics->AddStream(method_, -1);
  }
  const auto took = gate_.options_.clock->Monotonic() - start_;
  gate_.options_.metrics->CountCall(method_, rpc::StatusCodeName(code), stream, took);

  const bool refused = IsRefusal(code) && !status.ok();
  const bool mutates = rule_ != nullptr && rule_->mutates;
  // A stranger's calls fill no disk; the figures have them all.
  if (refused &&
      gate_.refusal_rate_.Take(HostOfPeer(caller_.peer), gate_.options_.clock->Monotonic())) {
    return;
  }
  if (refused || (mutates && admitted_) ) {
    gate_.Audit({.time = gate_.options_.clock->Now(),
                 .actor = known_ ? caller_.name : "",
                 .peer = caller_.peer,
                 .method = std::string(method_),
                 .resource = resource_,
                 .code = code,
                 .detail = status.ok() ? "" : Utf8Beginning(detail, kMostDetail)});
  }
  LogEvent event{.level = is_bug                ? LogEvent::Level::kError
                          : refused             ? LogEvent::Level::kWarning
                          : mutates             ? LogEvent::Level::kInfo
                                                : LogEvent::Level::kDebug,
                 .event = refused ? "rpc.refused" : status.ok() ? "rpc.done" : "rpc.failed",
                 .message = status.ok() ? std::string(method_) : std::string(method_) + ": " + detail,
                 .job = resource_.starts_with("jobs/") ? resource_ : "",
                 .actor = known_ ? caller_.name : "",
                 .fields = {{"code", std::string(rpc::StatusCodeName(code))}, {"peer", caller_.peer}}};
  if (!fault_.empty()) event.fields.emplace_back("fault", fault_);
  gate_.options_.log->Write(event);
}

}  // namespace syncbn::coordinator
