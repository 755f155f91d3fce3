// What both ends of a call must agree on about its status: the names of the codes, and the details
// that go with an error (error.proto).
#pragma once

#include <grpcpp/support/status.h>

#include <optional>
#include <string>
#include <string_view>

#include "syncbn/v1/error.pb.h"

namespace syncbn::rpc {

// "OUT_OF_RANGE" and so on; "UNKNOWN" for a number that gRPC does not have.
std::string_view StatusCodeName(grpc::StatusCode code);

// The first message of this kind among the details of an error; nothing where the peer sent none.
// It is told by its name alone: packed as syncbn.v1.ErrorInfo or as google.rpc.ErrorInfo, the fields
// are the same.
template <typename Detail>
std::optional<Detail> DetailOf(const grpc::Status& status) {
  v1::ErrorStatus details;
  if (!details.ParseFromString(status.error_details())) return std::nullopt;
  const std::string name = "." + Detail::descriptor()->name();
  for (const google::protobuf::Any& any : details.details()) {
    Detail detail;
    if (any.type_url().ends_with(name) && detail.ParseFromString(any.value())) return detail;
  }
  return std::nullopt;
}

}  // namespace syncbn::rpc
