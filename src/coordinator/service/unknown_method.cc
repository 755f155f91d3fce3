#include "coordinator/service/unknown_method.h"

#include <string>

#include "base/utf8.h"
#include "coordinator/service/status.h"

namespace syncbn::coordinator {
namespace {

// A stranger's, and of any length.
constexpr size_t kMostName = 200;

class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Refusal(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerGenericBidiReactor* UnknownMethods::CreateReactor(
    grpc::GenericCallbackServerContext* context) {
  return new Refusal(ToStatus(
      Error(ErrorCode::kUnimplemented,
            "this coordinator has no method " + Utf8Beginning(context->method(), kMostName) +
                ": the program that asks for it is of another version, or asks the wrong server")));
}

}  // namespace syncbn::coordinator
