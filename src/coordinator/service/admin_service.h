// AdminService (proto/syncbn/v1/admin.proto): tokens and the audit table.
#pragma once

#include "coordinator/service/call_gate.h"
#include "syncbn/v1/admin.grpc.pb.h"

namespace syncbn::coordinator {

class AdminService final : public v1::AdminService::Service {
 public:
  // The gate, and what it is made of, outlives the service.
  explicit AdminService(CallGate& gate) : gate_(gate) {}

  grpc::Status CreateToken(grpc::ServerContext* context, const v1::CreateTokenRequest* request,
                           v1::CreateTokenResponse* response) override;
  grpc::Status ListTokens(grpc::ServerContext* context, const v1::ListTokensRequest* request,
                          v1::ListTokensResponse* response) override;
  grpc::Status RevokeToken(grpc::ServerContext* context, const v1::RevokeTokenRequest* request,
                           google::protobuf::Empty* response) override;
  grpc::Status ListAudit(grpc::ServerContext* context, const v1::ListAuditRequest* request,
                         v1::ListAuditResponse* response) override;

 private:
  CallGate& gate_;
};

}  // namespace syncbn::coordinator
