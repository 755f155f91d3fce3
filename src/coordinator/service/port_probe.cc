#include "coordinator/service/port_probe.h"

#include <openssl/ssl.h>
#include <sys/socket.h>

#include <memory>
#include <string_view>

#include "coordinator/service/listening.h"

namespace syncbn::coordinator {
namespace {

constexpr int kPatienceSeconds = 2;
// RFC 9113: a frame's header is three bytes of length, then its type.
constexpr size_t kFrameHeader = 9, kTypeAt = 3;
constexpr char kSettings = 4;
constexpr std::string_view kHello("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
                                  24 + kFrameHeader);

bool SendsSettings(int socket) {
  if (::send(socket, kHello.data(), kHello.size(), MSG_NOSIGNAL) < 0) return false;
  char header[kFrameHeader];
  const ssize_t count = ::recv(socket, header, sizeof header, MSG_WAITALL);
  return count == sizeof header && header[kTypeAt] == kSettings;
}

bool ShakesHands(int socket) {
  const std::unique_ptr<SSL_CTX, decltype(&::SSL_CTX_free)> context(
      ::SSL_CTX_new(::TLS_client_method()), ::SSL_CTX_free);
  if (!context) return false;
  const std::unique_ptr<SSL, decltype(&::SSL_free)> tls(::SSL_new(context.get()), ::SSL_free);
  const unsigned char h2[] = {2, 'h', '2'};
  // Without a certificate of its own the client hears of a refusal, if at all, only after this.
  return tls && ::SSL_set_alpn_protos(tls.get(), h2, sizeof h2) == 0 &&
         ::SSL_set_fd(tls.get(), socket) == 1 && ::SSL_connect(tls.get()) == 1;
}

}  // namespace

bool Answers(const std::string& address, bool tls) {
  const Descriptor socket = ConnectTo(address, kPatienceSeconds);
  if (socket.get() < 0) return false;
  return tls ? ShakesHands(socket.get()) : SendsSettings(socket.get());
}

}  // namespace syncbn::coordinator
