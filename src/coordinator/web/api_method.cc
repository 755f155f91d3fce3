#include "coordinator/web/api_method.h"

#include <google/protobuf/util/json_util.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "base/untrusted_json.h"
#include "coordinator/api_error.h"
#include "coordinator/service/method_table.h"
#include "rpc/status.h"
#include "syncbn/v1/error.pb.h"

namespace syncbn::coordinator {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::Message;
using google::protobuf::MessageFactory;

std::unique_ptr<Message> New(const Descriptor* type) {
  return std::unique_ptr<Message>(MessageFactory::generated_factory()->GetPrototype(type)->New());
}

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  bytes.reserve(buffer.Length());
  buffer.Dump(&slices);
  for (const grpc::Slice& slice : slices)
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

}  // namespace

ApiMethod::ApiMethod(std::string_view name, bool stream) {
  const MethodRule* rule = FindMethodRule(name);
  if (rule == nullptr || rule->access == Access::kWorker || rule->stream != stream) {
    throw ApiError(
        ErrorCode::kNotFound, "METHOD_NOT_FOUND",
        "'" + std::string(name.substr(0, 80)) + "' is not a method that can be called here");
  }
  std::string full = "syncbn.v1." + std::string(name);
  path_ = "/" + full;
  full[full.find('/')] = '.';
  method_ = DescriptorPool::generated_pool()->FindMethodByName(full);
  if (method_ == nullptr) throw Error(ErrorCode::kInternal, "there is no method " + full);
}

grpc::ByteBuffer ApiMethod::Request(const std::string& json) const {
  const auto refuse = [this](const std::string& why) {
    throw ApiError(ErrorCode::kInvalidArgument, "MESSAGE_INVALID",
                   "the body is no " + method_->input_type()->name() + " in JSON: " + why);
  };
  try {
    CheckJsonNesting(json);
  } catch (const JsonFault& fault) {
    refuse(fault.message());
  }
  const std::unique_ptr<Message> request = New(method_->input_type());
  const auto parsed = google::protobuf::util::JsonStringToMessage(json, request.get());
  if (!parsed.ok()) refuse(std::string(parsed.message()).substr(0, 300));
  const grpc::Slice slice(request->SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

std::string ApiMethod::Response(const grpc::ByteBuffer& bytes) const {
  const std::unique_ptr<Message> response = New(method_->output_type());
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  if (!response->ParseFromString(BytesOf(bytes)) ||
      !google::protobuf::util::MessageToJsonString(*response, &json, options).ok()) {
    throw Error(ErrorCode::kInternal, "an answer of " + path_ + " cannot be written as JSON");
  }
  return json;
}

std::string StatusJson(const grpc::Status& status) {
  nlohmann::json json = {{"code", rpc::StatusCodeName(status.error_code())},
                         {"message", status.error_message()}};
  if (const auto info = rpc::DetailOf<v1::ErrorInfo>(status)) {
    json["reason"] = info->reason();
    json["metadata"] = nlohmann::json::object();
    for (const auto& [key, value] : info->metadata()) json["metadata"][key] = value;
  }
  if (const auto faults = rpc::DetailOf<v1::RunFileErrors>(status)) {
    for (const v1::RunFileError& fault : faults->errors()) {
      json["errors"].push_back({{"file", fault.file()},
                                {"line", fault.line()},
                                {"path", fault.path()},
                                {"message", fault.message()},
                                {"text", fault.text()}});
    }
  }
  // Texts may quote what a client has sent.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

int HttpStatusOf(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK:
      return 200;
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::OUT_OF_RANGE:
    case grpc::StatusCode::FAILED_PRECONDITION:
      return 400;
    case grpc::StatusCode::UNAUTHENTICATED:
      return 401;
    case grpc::StatusCode::PERMISSION_DENIED:
      return 403;
    case grpc::StatusCode::NOT_FOUND:
      return 404;
    case grpc::StatusCode::ALREADY_EXISTS:
    case grpc::StatusCode::ABORTED:
      return 409;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return 429;
    case grpc::StatusCode::UNIMPLEMENTED:
      return 501;
    case grpc::StatusCode::UNAVAILABLE:
      return 503;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return 504;
    default:
      return 500;
  }
}

}  // namespace syncbn::coordinator
