// Where the answer to a request of the HTTP port goes.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/descriptor.h"
#include "coordinator/service/http_message.h"

namespace syncbn::coordinator {

// What threads tell the one that looks after all clients. Thread-safe.
class HttpMailbox {
 public:
  struct Letter {
    enum class Kind {
      kArrival,  // `socket` is a new client
      kAnswer,   // `bytes` are all of it
      kPiece,    // `bytes` are more of a stream
      kEnd,      // the stream is over
    } kind;
    Descriptor socket = Descriptor();
    int64_t client = 0;
    std::string bytes = {};
    bool keep_alive = false;
    // Called once, with false where the bytes will never leave.
    std::function<void(bool left)> done = nullptr;
  };

  HttpMailbox();

  void Post(Letter letter);
  // All letters so far, oldest first.
  std::vector<Letter> Take();
  // From now on letters are thrown away.
  void Close();
  bool closed() const;
  // Can be read when there may be a letter, or after Close.
  int wake() const { return wake_.get(); }

 private:
  void Ring();

  Descriptor wake_;
  mutable std::mutex mutex_;
  bool closed_ = false;
  std::vector<Letter> letters_;
};

// The answer to one request: Send once, or Begin, any number of Writes, and End. Any of them may be
// called by any thread, also when the client has left. Where none was called when the last owner
// lets go, the client hears of a fault.
class HttpReply {
 public:
  HttpReply(std::shared_ptr<HttpMailbox> mailbox, int64_t client, const HttpRequest& request);
  ~HttpReply();
  HttpReply(const HttpReply&) = delete;
  HttpReply& operator=(const HttpReply&) = delete;

  void Send(const HttpAnswer& answer);
  void Begin(const HttpAnswer& head);
  // `done` hears when the system has taken the bytes, or (false) that it never will; from the
  // thread that looks after all clients, so it must not block.
  void Write(std::string bytes, std::function<void(bool left)> done);
  void End();

  // Is called once if the client leaves before the end, perhaps at once; it must not block.
  void OnLeave(std::function<void()> leave);
  // From the server: the client has left.
  void Leave();

 private:
  std::shared_ptr<HttpMailbox> mailbox_;
  int64_t client_;
  bool head_only_, keep_alive_;
  std::mutex mutex_;
  bool begun_ = false, left_ = false;
  std::function<void()> leave_;
};

}  // namespace syncbn::coordinator
