#include "coordinator/service/request_info.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "coordinator/control/secret.h"
#include "coordinator/service/submission.h"

namespace syncbn::coordinator {
namespace {

// Equal for equal messages; maps have no order of their own.
std::string DigestOf(const google::protobuf::Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  std::string digest;
  for (unsigned char byte : HashSecret(bytes)) {
    digest += "0123456789abcdef"[byte >> 4];
    digest += "0123456789abcdef"[byte & 15];
  }
  return digest;
}

}  // namespace

RequestInfo RequestInfoOf(const Caller& caller, std::string_view method, const std::string& id,
                          const google::protobuf::Message& request, bool validate_only) {
  CheckText("request_id", id, 128);
  RequestInfo info{.key = {.actor = caller.name, .id = id, .method = std::string(method)},
                   .validate_only = validate_only};
  if (!id.empty()) info.key.digest = DigestOf(request);
  return info;
}

}  // namespace syncbn::coordinator
