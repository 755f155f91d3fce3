// Streams of the API as server-sent events of one answer (gateway.h).
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "coordinator/service/http_message.h"
#include "coordinator/service/http_reply.h"
#include "coordinator/web/api_method.h"

namespace syncbn::coordinator {

class EventStream : public std::enable_shared_from_this<EventStream> {
 public:
  struct Part {
    std::string id;
    ApiMethod method;
    grpc::ByteBuffer request;
  };

  // Lives until the last of the parts has ended. Throws before anything was sent.
  static void Start(const std::shared_ptr<grpc::Channel>& channel, std::vector<Part> parts,
                    const HttpRequest& request, const std::shared_ptr<HttpReply>& reply,
                    std::shared_ptr<void> open);

  EventStream(std::shared_ptr<HttpReply> reply, std::shared_ptr<void> open)
      : calls_(std::move(open)), reply_(std::move(reply)) {}

 private:
  class Reader;

  // The client has left: the calls end.
  void Cancel();
  void EndOne(const std::string& id, const grpc::Status& status);

  const std::shared_ptr<void> calls_;  // first, so that it ends last (OpenCalls)
  const std::shared_ptr<HttpReply> reply_;
  std::vector<std::shared_ptr<grpc::ClientContext>> contexts_;
  std::mutex mutex_;
  bool cancelled_ = false;
  size_t open_ = 0;
};

}  // namespace syncbn::coordinator
