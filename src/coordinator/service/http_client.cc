#include "coordinator/service/http_client.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

namespace syncbn::coordinator {
namespace {

constexpr char kTlsRecord = 0x16;  // a TLS connection begins with it, a request never does
constexpr ssize_t kAgain = -1, kGone = -2;

}  // namespace

HttpClient::HttpClient(Descriptor socket, int64_t number)
    : socket_(std::move(socket)), number_(number) {}

HttpClient::~HttpClient() {
  tls_.reset();
  for (const Piece& piece : out_) {
    if (piece.done) piece.done(false);
  }
  if (reply) reply->Leave();
}

bool HttpClient::Move(TlsContext* tls, size_t most) {
  if (!sniffed_) {
    char first = 0;
    const ssize_t count = ::recv(socket_.get(), &first, 1, MSG_PEEK | MSG_DONTWAIT);
    if (count == 0) return false;
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    sniffed_ = true;
    if (tls != nullptr && first == kTlsRecord) tls_ = tls->Accept(socket_.get());
  }
  return Flush() && Receive(most) && (!read_waits_to_write_ || Flush());
}

short HttpClient::events(size_t most) const {
  int wanted = in.size() < most ? POLLIN : 0;
  if (read_waits_to_write_ || (!out_.empty() && !write_waits_to_read_)) wanted |= POLLOUT;
  return static_cast<short>(wanted);
}

void HttpClient::Put(std::string bytes, std::function<void(bool)> done) {
  out_.push_back({.bytes = std::move(bytes), .done = std::move(done)});
}

bool HttpClient::Receive(size_t most) {
  char bytes[16384];
  while (in.size() < most) {
    const ssize_t count = ReadSome(bytes, sizeof bytes);
    if (count == kAgain) return true;
    if (count == kGone) return false;
    in.append(bytes, static_cast<size_t>(count));
  }
  return true;
}

bool HttpClient::Flush() {
  while (!out_.empty()) {
    Piece& piece = out_.front();
    while (piece.gone < piece.bytes.size()) {
      const ssize_t count =
          WriteSome(piece.bytes.data() + piece.gone, piece.bytes.size() - piece.gone);
      if (count == kAgain) return true;
      if (count == kGone) return false;
      piece.gone += static_cast<size_t>(count);
      moved = true;
    }
    const std::function<void(bool)> done = std::move(piece.done);
    out_.pop_front();
    if (done) done(true);
  }
  return true;
}

ssize_t HttpClient::ReadSome(char* bytes, size_t most) {
  read_waits_to_write_ = false;
  if (tls_) {
    const int count = tls_->Read(bytes, most);
    read_waits_to_write_ = count == TlsSession::kAgainToWrite;
    return count > 0 ? count : count == TlsSession::kOver ? kGone : kAgain;
  }
  const ssize_t count = ::recv(socket_.get(), bytes, most, MSG_DONTWAIT);
  if (count < 0) return errno == EAGAIN || errno == EINTR ? kAgain : kGone;
  return count == 0 ? kGone : count;
}

ssize_t HttpClient::WriteSome(const char* bytes, size_t count) {
  write_waits_to_read_ = false;
  if (tls_) {
    const int sent = tls_->Write(bytes, count);
    write_waits_to_read_ = sent == TlsSession::kAgainToRead;
    return sent > 0 ? sent : sent == TlsSession::kOver ? kGone : kAgain;
  }
  const ssize_t sent = ::send(socket_.get(), bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent < 0 ? (errno == EAGAIN || errno == EINTR ? kAgain : kGone) : sent;
}

void HttpClient::Describe(HttpRequest& request) const {
  request.encrypted = encrypted();
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  if (::getpeername(socket_.get(), reinterpret_cast<sockaddr*>(&peer), &size) != 0) return;
  char text[INET6_ADDRSTRLEN] = "";
  if (peer.ss_family == AF_INET) {
    const auto& address = reinterpret_cast<const sockaddr_in&>(peer);
    ::inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
    request.peer = "ipv4:" + std::string(text) + ":" + std::to_string(ntohs(address.sin_port));
    request.loopback = (ntohl(address.sin_addr.s_addr) >> 24) == 127;
  } else if (peer.ss_family == AF_INET6) {
    const auto& address = reinterpret_cast<const sockaddr_in6&>(peer);
    ::inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof text);
    request.peer = "ipv6:[" + std::string(text) + "]:" + std::to_string(ntohs(address.sin6_port));
    request.loopback =
        IN6_IS_ADDR_LOOPBACK(&address.sin6_addr) ||
        (IN6_IS_ADDR_V4MAPPED(&address.sin6_addr) && address.sin6_addr.s6_addr[12] == 127);
  } else {
    request.peer = "unix:";
    request.loopback = true;
  }
}

}  // namespace syncbn::coordinator
