// What the calls of the gateway have in common.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include "coordinator/service/http_message.h"

namespace syncbn::coordinator {

// Says who calls and from where (inside_key.h). Throws UNAUTHENTICATED for a token that cannot be one.
void SetCaller(grpc::ClientContext& context, const HttpRequest& request);

HttpAnswer JsonAnswer(int status, std::string json);
HttpAnswer StatusAnswer(const grpc::Status& status);

}  // namespace syncbn::coordinator
