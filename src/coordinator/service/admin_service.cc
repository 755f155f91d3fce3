#include "coordinator/service/admin_service.h"

#include "base/utf8.h"
#include "coordinator/answer_size.h"
#include "coordinator/api_error.h"
#include "coordinator/service/page_request.h"
#include "coordinator/service/request_info.h"
#include "coordinator/service/status.h"
#include "rpc/status.h"

namespace syncbn::coordinator {
namespace {

constexpr int kUsualPage = 100;
// Of a record; an earlier version may have cut one inside a character.
constexpr size_t kMostText = 1024;

v1::Token Show(const TokenRecord& record) {
  v1::Token token;
  token.set_name(record.name);
  token.set_role(static_cast<v1::Token::Role>(record.role));
  *token.mutable_create_time() = ToProto(record.create_time);
  if (record.expire_time) *token.mutable_expire_time() = ToProto(*record.expire_time);
  return token;
}

v1::AuditRecord Show(const AuditRecord& entry) {
  v1::AuditRecord record;
  record.set_sequence(entry.sequence);
  *record.mutable_time() = ToProto(entry.time);
  record.set_actor(entry.actor);
  record.set_peer(entry.peer);
  record.set_method(entry.method);
  record.set_resource(Utf8Beginning(entry.resource, kMostText));
  record.set_code(std::string(rpc::StatusCodeName(static_cast<grpc::StatusCode>(entry.code))));
  record.set_detail(Utf8Beginning(entry.detail, kMostText));
  return record;
}

}  // namespace

grpc::Status AdminService::CreateToken(grpc::ServerContext* context,
                                       const v1::CreateTokenRequest* request,
                                       v1::CreateTokenResponse* response) {
  constexpr std::string_view kMethod = "AdminService/CreateToken";
  return gate_.Run(*context, kMethod, request, [&](Call& call) {
    const v1::Token& token = request->token();
    call.SetResource(Utf8Beginning(token.name(), 63));
    if (token.role() < v1::Token::VIEWER || token.role() > v1::Token::ADMIN) {
      ThrowFieldInvalid("token.role", "a token needs a role: viewer, submitter or admin");
    }
    std::optional<WallTime> expire_time;
    if (token.has_expire_time()) expire_time = FromProto(token.expire_time());
    const RequestInfo info =
        RequestInfoOf(call.caller(), kMethod, request->request_id(), *request, false);
    response->set_secret(gate_.options().authenticator->Create(
        token.name(), static_cast<Role>(token.role()), expire_time, info.key));
    *response->mutable_token() = token;
    *response->mutable_token()->mutable_create_time() = ToProto(gate_.options().clock->Now());
  });
}

grpc::Status AdminService::ListTokens(grpc::ServerContext* context,
                                      const v1::ListTokensRequest* request,
                                      v1::ListTokensResponse* response) {
  return gate_.Run(*context, "AdminService/ListTokens", request, [&](Call&) {
    const PageRequest page = ParsePage(request->page_size(), request->page_token());
    const auto tokens = gate_.options().store->Read(
        [&](Tables& tables) { return tables.tokens.After(page.after, page.size + 1); });
    int64_t bytes = 0;
    for (const TokenRecord& token : tokens) {
      if (response->tokens_size() == page.size || bytes > kMostAnswer) {
        response->set_next_page_token(response->tokens(response->tokens_size() - 1).name());
        return;
      }
      *response->add_tokens() = Show(token);
      bytes += static_cast<int64_t>(response->tokens(response->tokens_size() - 1).ByteSizeLong());
    }
  });
}

grpc::Status AdminService::RevokeToken(grpc::ServerContext* context,
                                       const v1::RevokeTokenRequest* request,
                                       google::protobuf::Empty*) {
  constexpr std::string_view kMethod = "AdminService/RevokeToken";
  return gate_.Run(*context, kMethod, request, [&](Call& call) {
    const RequestInfo info =
        RequestInfoOf(call.caller(), kMethod, request->request_id(), *request, false);
    gate_.options().authenticator->Revoke(request->name(), info.key);
  });
}

grpc::Status AdminService::ListAudit(grpc::ServerContext* context,
                                     const v1::ListAuditRequest* request,
                                     v1::ListAuditResponse* response) {
  return gate_.Run(*context, "AdminService/ListAudit", request, [&](Call&) {
    const auto [size, before] =
        ParseNumberedPage(request->page_size(), request->page_token(), kUsualPage);
    auto entries = gate_.options().store->Read([&, before = before, size = size](Tables& tables) {
      return tables.audit.List(before, size + 1);
    });
    if (static_cast<int>(entries.size()) > size) {
      entries.pop_back();
      response->set_next_page_token(std::to_string(entries.back().sequence));
    }
    for (const AuditRecord& entry : entries) *response->add_records() = Show(entry);
  });
}

}  // namespace syncbn::coordinator
