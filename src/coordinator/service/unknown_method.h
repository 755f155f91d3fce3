// Calls of methods that no service of this server has, such as those of a newer client. gRPC
// answers them by itself with UNIMPLEMENTED and no words; this one gives the error a reason and
// says what to do.
#pragma once

#include <grpcpp/generic/async_generic_service.h>

namespace syncbn::coordinator {

class UnknownMethods final : public grpc::CallbackGenericService {
 public:
  // UNIMPLEMENTED, with that as its reason. Nothing of the request is read.
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override;
};

}  // namespace syncbn::coordinator
