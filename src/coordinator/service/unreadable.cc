#include "coordinator/service/unreadable.h"

#include <string>
#include <string_view>

#include "coordinator/api_error.h"

namespace syncbn::coordinator {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::ServerRpcInfo;

// "JobService/GetJob" of "/syncbn.v1.JobService/GetJob"; another's method is none of the table.
std::string_view MethodOf(std::string_view path) {
  constexpr std::string_view kPackage = "/syncbn.v1.";
  return path.starts_with(kPackage) ? path.substr(kPackage.size()) : "";
}

class Watch final : public grpc::experimental::Interceptor {
 public:
  Watch(CallGate& gate, ServerRpcInfo& info, const MethodRule& rule)
      : gate_(gate), info_(info), rule_(rule) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* batch) override {
    // A request that is read before its handler is called, and could not be.
    if (batch->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE) &&
        HasOneRequest() && batch->GetRecvMessage() == nullptr) {
      unreadable_ = true;
    }
    if (unreadable_ && batch->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      batch->ModifySendStatus(gate_.Run(*info_.server_context(), rule_.method, nullptr,
                                        [this](Call&) { ThrowUnreadable(rule_.method); }));
      unreadable_ = false;
    }
    batch->Proceed();
  }

 private:
  bool HasOneRequest() const {
    return info_.type() == ServerRpcInfo::Type::UNARY ||
           info_.type() == ServerRpcInfo::Type::SERVER_STREAMING;
  }

  CallGate& gate_;
  ServerRpcInfo& info_;
  const MethodRule& rule_;
  bool unreadable_ = false;
};

}  // namespace

void ThrowUnreadable(std::string_view method) {
  throw ApiError(ErrorCode::kInvalidArgument, "MESSAGE_INVALID",
                 "the bytes of the request are no message of " + std::string(method) +
                     ": they are damaged, or of another method or version");
}

grpc::experimental::Interceptor* UnreadableRequests::CreateServerInterceptor(ServerRpcInfo* info) {
  const MethodRule* rule = FindMethodRule(MethodOf(info->method()));
  return rule == nullptr ? nullptr : new Watch(gate_, *info, *rule);
}

}  // namespace syncbn::coordinator
