#include "coordinator/web/dashboard.h"

#include <algorithm>

#include "coordinator/api_error.h"
#include "coordinator/service/address.h"
#include "coordinator/service/status.h"
#include "coordinator/web/gateway_call.h"

namespace syncbn::coordinator {
namespace {

// Scripts and styles of our own files alone, no inline ones; and no text becomes HTML: the only
// policy lets through what has no markup in it (pages/dom.js), which is what the chart library
// needs.
// A frame shows a report, whose own policy (report_shelf.h) lets it do nothing.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src "
    "'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types default";

constexpr std::string_view kApi = "/api/";
constexpr const char* kPolicyHeader = "Content-Security-Policy";

// A host with or without a port, as a header may name it.
bool IsHost(const std::string& text) {
  return !text.empty() && text.size() <= 255 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) || c == '.' || c == '-' || c == ':' || c == '[' || c == ']' ||
                  c == '_';
         });
}

// By a name that no name server elsewhere can have chosen.
bool IsOwnName(const std::string& host) {
  const bool has_port = host.find(':') != std::string::npos && !host.ends_with(']');
  try {
    return IsLoopback(has_port ? host : host + ":80");
  } catch (const std::exception&) {
    return false;
  }
}

[[noreturn]] void Refuse(const std::string& reason, const std::string& message) {
  throw ApiError(ErrorCode::kPermissionDenied, reason, message);
}

bool IsReport(const HttpRequest& request) {
  return request.path.starts_with(ReportShelf::kPrefix);
}

bool HasPolicy(const HttpAnswer& answer) {
  return std::ranges::any_of(answer.headers,
                             [](const auto& header) { return header.first == kPolicyHeader; });
}

void AddHeaders(HttpAnswer& answer) {
  answer.headers.insert(answer.headers.end(), {{kPolicyHeader, kPolicy},
                                               {"X-Content-Type-Options", "nosniff"},
                                               {"X-Frame-Options", "DENY"},
                                               {"Referrer-Policy", "no-referrer"},
                                               {"Cross-Origin-Opener-Policy", "same-origin"},
                                               {"Cross-Origin-Resource-Policy", "same-origin"}});
}

}  // namespace

void Dashboard::Answer(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) const {
  if (!request.path.starts_with(kApi)) {
    HttpAnswer answer = AnswerPage(request);
    // A report has a policy of its own.
    if (!HasPolicy(answer)) AddHeaders(answer);
    reply->Send(answer);
    return;
  }
  try {
    CheckCall(request);
    if (!IsKnown(request)) {
      gateway_.TurnAway(request, reply);
    } else if (request.path == ReportDesk::kPath) {
      reports_->Answer(request, reply);
    } else if (request.path.starts_with(Gateway::kPrefix)) {
      gateway_.Answer(request, reply);
    } else {
      throw ApiError(ErrorCode::kNotFound, "METHOD_NOT_FOUND",
                     "methods are below " + std::string(Gateway::kPrefix));
    }
  } catch (...) {
    reply->Send(StatusAnswer(ToStatus(std::current_exception())));
  }
}

HttpAnswer Dashboard::AnswerPage(const HttpRequest& request) const {
  if (request.method != "GET" && request.method != "HEAD")
    return {.status = 405, .headers = {{"Allow", "GET, HEAD"}}, .body = "pages are only read\n"};
  if (!options_.why_closed.empty()) return {.status = 403, .body = options_.why_closed + "\n"};
  if (options_.tls && !request.encrypted) {
    const std::string* host = request.Header("host");
    if (host == nullptr || !IsHost(*host)) return {.status = 403, .body = "ask by https\n"};
    return {.status = 308,
            .headers = {{"Location", "https://" + *host + request.path +
                                         (request.query.empty() ? "" : "?" + request.query)}},
            .body = "ask by https\n"};
  }
  return IsReport(request) ? reports_->AnswerFile(request) : assets_.Answer(request);
}

void Dashboard::CheckCall(const HttpRequest& request) const {
  if (!options_.why_closed.empty()) Refuse("NOT_ALLOWED", options_.why_closed);
  if (options_.tls && !request.encrypted)
    Refuse("NOT_ALLOWED", "this server is called by https: a token must not travel in the open");
  const std::string* host = request.Header("host");
  const std::string* origin = request.Header("origin");
  const std::string* site = request.Header("sec-fetch-site");
  const std::string* type = request.Header("content-type");
  // A page elsewhere can have a browser send neither this type nor this method without asking
  // first.
  if (request.method != "POST" || type == nullptr || !type->starts_with("application/json"))
    Refuse("NOT_ALLOWED", "a method is called by POST with a body of the type application/json");
  if (host == nullptr || !IsHost(*host)) Refuse("NOT_ALLOWED", "the request has no host");
  const std::string own = (request.encrypted ? "https://" : "http://") + *host;
  if ((origin != nullptr && *origin != own) ||
      (site != nullptr && *site != "same-origin" && *site != "none")) {
    Refuse("NOT_ALLOWED", "the request comes from a page of another origin");
  }
  if (request.Header("authorization") != nullptr) return;
  const bool passed_on = request.Header("x-forwarded-for") != nullptr ||
                         request.Header("forwarded") != nullptr || request.Header("via") != nullptr;
  if (!options_.allow_local || !request.loopback || passed_on || !IsOwnName(*host))
    Refuse("UNAUTHENTICATED", "this server asks for a token, and none has come");
}

bool Dashboard::IsKnown(const HttpRequest& request) const {
  const std::string* authorization = request.Header("authorization");
  try {
    options_.authenticator->Identify(
        authorization == nullptr ? std::nullopt : std::optional(*authorization), request.peer);
    return true;
  } catch (const ApiError& error) {
    if (error.reason() != "UNAUTHENTICATED") throw;
    return false;
  }
}

}  // namespace syncbn::coordinator
