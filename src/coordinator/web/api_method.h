// A method of the API by its name, and its messages as JSON: the form that `--json` of the commands
// has, field names as in the schema.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <memory>
#include <string>
#include <string_view>

namespace syncbn::coordinator {

class ApiMethod {
 public:
  // Of "JobService/GetJob". Throws NOT_FOUND (METHOD_NOT_FOUND) for what users cannot call: no
  // method, one of workers, or one that streams where `stream` says it must not, or the other way
  // round.
  ApiMethod(std::string_view name, bool stream);

  // "/syncbn.v1.JobService/GetJob"
  const std::string& path() const { return path_; }

  // The request's bytes. Throws INVALID_ARGUMENT (MESSAGE_INVALID) for what is no such message.
  grpc::ByteBuffer Request(const std::string& json) const;
  // In one line. Throws INTERNAL for bytes that are no such message.
  std::string Response(const grpc::ByteBuffer& bytes) const;

 private:
  const google::protobuf::MethodDescriptor* method_;
  std::string path_;
};

// A status that is no OK, for a client: {"code", "message", "reason", "metadata", "errors"}, the
// last where a run file or a study file is wrong.
std::string StatusJson(const grpc::Status& status);
// The HTTP status that says about the same.
int HttpStatusOf(grpc::StatusCode code);

}  // namespace syncbn::coordinator
