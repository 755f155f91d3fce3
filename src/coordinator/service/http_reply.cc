#include "coordinator/service/http_reply.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "base/error.h"

namespace syncbn::coordinator {

HttpMailbox::HttpMailbox() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (wake_.get() < 0) {
    throw Error(ErrorCode::kResourceExhausted,
                "no more files can be opened: raise the limit (ulimit -n)");
  }
}

void HttpMailbox::Ring() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

void HttpMailbox::Post(Letter letter) {
  {
    std::lock_guard lock(mutex_);
    if (!closed_) {
      letters_.push_back(std::move(letter));
      Ring();
      return;
    }
  }
  if (letter.done) letter.done(false);
}

std::vector<HttpMailbox::Letter> HttpMailbox::Take() {
  uint64_t ignored = 0;
  [[maybe_unused]] const ssize_t read = ::read(wake_.get(), &ignored, sizeof ignored);
  std::lock_guard lock(mutex_);
  return std::exchange(letters_, {});
}

void HttpMailbox::Close() {
  std::vector<Letter> lost;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    lost.swap(letters_);
    Ring();
  }
  for (const Letter& letter : lost) {
    if (letter.done) letter.done(false);
  }
}

bool HttpMailbox::closed() const {
  std::lock_guard lock(mutex_);
  return closed_;
}

HttpReply::HttpReply(std::shared_ptr<HttpMailbox> mailbox, int64_t client,
                     const HttpRequest& request)
    : mailbox_(std::move(mailbox)),
      client_(client),
      head_only_(request.method == "HEAD"),
      keep_alive_(request.keep_alive) {}

HttpReply::~HttpReply() {
  if (!begun_)
    Send({.status = 500, .body = "this was left without an answer; the log tells more\n"});
}

void HttpReply::Send(const HttpAnswer& answer) {
  {
    std::lock_guard lock(mutex_);
    begun_ = true;
  }
  mailbox_->Post(
      {.kind = HttpMailbox::Letter::Kind::kAnswer,
       .client = client_,
       .bytes = SerializeHttp(answer, head_only_ ? HttpBody::kHead : HttpBody::kWhole, keep_alive_),
       .keep_alive = keep_alive_});
}

void HttpReply::Begin(const HttpAnswer& head) {
  {
    std::lock_guard lock(mutex_);
    begun_ = true;
  }
  mailbox_->Post({.kind = HttpMailbox::Letter::Kind::kPiece,
                  .client = client_,
                  .bytes = SerializeHttp(head, HttpBody::kStream, false)});
}

void HttpReply::Write(std::string bytes, std::function<void(bool left)> done) {
  mailbox_->Post({.kind = HttpMailbox::Letter::Kind::kPiece,
                  .client = client_,
                  .bytes = std::move(bytes),
                  .done = std::move(done)});
}

void HttpReply::End() {
  mailbox_->Post({.kind = HttpMailbox::Letter::Kind::kEnd, .client = client_});
}

void HttpReply::OnLeave(std::function<void()> leave) {
  {
    std::lock_guard lock(mutex_);
    if (!left_) {
      leave_ = std::move(leave);
      return;
    }
  }
  leave();
}

void HttpReply::Leave() {
  std::function<void()> leave;
  {
    std::lock_guard lock(mutex_);
    left_ = true;
    leave.swap(leave_);
  }
  if (leave) leave();
}

}  // namespace syncbn::coordinator
