// One client of the HTTP port: its socket, in the open or with TLS, and what came and is to go.
// Used by one thread. Nothing here blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/descriptor.h"
#include "coordinator/service/http_reply.h"
#include "coordinator/service/http_tls.h"

namespace syncbn::coordinator {

class HttpClient {
 public:
  enum class Phase {
    kRequest,  // waits for one, or for more of it
    kMaking,   // an answer is being made
    kAnswer,   // what goes is all of it
    kStream,   // more may come at any time
  };

  HttpClient(Descriptor socket, int64_t number);
  // Whoever waits for bytes to leave, or for the end, hears that the client has left.
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Moves what can be moved in both directions, at most `most` bytes waiting to be looked at; false
  // when the client has left. With `tls`, who begins with TLS is spoken to so.
  bool Move(TlsContext* tls, size_t most);
  // What to wait for (poll).
  short events(size_t most) const;
  bool idle() const { return phase == Phase::kRequest && in.empty(); }
  // Adds bytes to what goes.
  void Put(std::string bytes, std::function<void(bool)> done);
  bool all_gone() const { return out_.empty(); }
  int socket() const { return socket_.get(); }
  int64_t number() const { return number_; }
  bool encrypted() const { return tls_ != nullptr; }
  // Fills in where it comes from.
  void Describe(HttpRequest& request) const;

  Phase phase = Phase::kRequest;
  bool keep_alive = false;
  bool ending = false;  // a stream that is over when all has gone
  bool told_to_go_on = false;
  MonotonicTime deadline;
  bool moved = false;  // bytes have gone since this was last set to false
  std::string in;
  std::shared_ptr<HttpReply> reply;

 private:
  struct Piece {
    std::string bytes;
    size_t gone = 0;
    std::function<void(bool)> done;
  };

  bool Receive(size_t most);
  bool Flush();
  ssize_t ReadSome(char* bytes, size_t most);
  ssize_t WriteSome(const char* bytes, size_t count);

  Descriptor socket_;
  int64_t number_;
  bool sniffed_ = false;
  std::unique_ptr<TlsSession> tls_;
  bool read_waits_to_write_ = false, write_waits_to_read_ = false;
  std::deque<Piece> out_;
};

}  // namespace syncbn::coordinator
