#include "coordinator/web/event_stream.h"

#include <grpcpp/generic/generic_stub.h>

#include "coordinator/service/status.h"
#include "coordinator/web/gateway_call.h"

namespace syncbn::coordinator {
namespace {

// JSON of ours is one line, as the data of an event have to be.
std::string Event(const std::string& id, const std::string& key, const std::string& json) {
  return "event: " + id + "\ndata: {\"" + key + "\":" + json + "}\n\n";
}

}  // namespace

// One call; deletes itself when gRPC is done with it.
class EventStream::Reader final
    : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Reader(std::shared_ptr<EventStream> owner, Part part, const HttpRequest& request)
      : owner_(std::move(owner)), part_(std::move(part)) {
    SetCaller(*context_, request);
  }

  void Go(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::GenericStub(channel).PrepareBidiStreamingCall(context_.get(), part_.method.path(), {},
                                                        this);
    // Reads are begun by whoever sends; the call must not be over in between.
    AddHold();
    StartWriteLast(&part_.request, {});
    StartRead(&message_);
    StartCall();
  }
  const std::shared_ptr<grpc::ClientContext>& context() const { return context_; }

  void OnReadDone(bool ok) override {
    if (!ok) {
      RemoveHold();
      return;
    }
    std::string event;
    try {
      event = Event(part_.id, "message", part_.method.Response(message_));
    } catch (...) {
      fault_ = ToStatus(std::current_exception());
      context_->TryCancel();
      RemoveHold();
      return;
    }
    owner_->reply_->Write(std::move(event), [this](bool left) {
      if (left) {
        StartRead(&message_);
      } else {
        context_->TryCancel();
        RemoveHold();
      }
    });
  }
  void OnDone(const grpc::Status& status) override {
    owner_->EndOne(part_.id, fault_.ok() ? status : fault_);
    delete this;
  }

 private:
  const std::shared_ptr<EventStream> owner_;
  const Part part_;
  const std::shared_ptr<grpc::ClientContext> context_ = std::make_shared<grpc::ClientContext>();
  grpc::ByteBuffer message_;
  grpc::Status fault_;
};

void EventStream::Start(const std::shared_ptr<grpc::Channel>& channel, std::vector<Part> parts,
                        const HttpRequest& request, const std::shared_ptr<HttpReply>& reply,
                        std::shared_ptr<void> open) {
  const auto stream = std::make_shared<EventStream>(reply, std::move(open));
  std::vector<std::unique_ptr<Reader>> readers;
  for (Part& part : parts)
    readers.push_back(std::make_unique<Reader>(stream, std::move(part), request));
  for (const auto& reader : readers) stream->contexts_.push_back(reader->context());
  stream->open_ = readers.size();
  reply->Begin({.type = "text/event-stream", .headers = {{"Cache-Control", "no-store"}}});
  for (auto& reader : readers) reader.release()->Go(channel);
  reply->OnLeave([weak = std::weak_ptr(stream)] {
    if (const auto left = weak.lock()) left->Cancel();
  });
}

void EventStream::Cancel() {
  {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
  }
  for (const auto& context : contexts_) context->TryCancel();
}

void EventStream::EndOne(const std::string& id, const grpc::Status& status) {
  bool last = false;
  {
    std::lock_guard lock(mutex_);
    last = --open_ == 0;
    if (cancelled_) return;
  }
  reply_->Write(Event(id, "end", status.ok() ? "{}" : StatusJson(status)), nullptr);
  if (last) reply_->End();
}

}  // namespace syncbn::coordinator
