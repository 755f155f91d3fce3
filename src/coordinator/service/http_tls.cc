#include "coordinator/service/http_tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <limits>

#include "base/certificate.h"
#include "base/error.h"

namespace syncbn::coordinator {

TlsSession::TlsSession(SSL_CTX* context, int socket) : ssl_(SSL_new(context)) {
  if (ssl_ == nullptr) throw Error(ErrorCode::kResourceExhausted, "no memory is left for TLS");
  SSL_set_fd(ssl_, socket);
  SSL_set_accept_state(ssl_);
}

TlsSession::~TlsSession() {
  // Says goodbye where that does not block; whoever has left hears nothing.
  if (SSL_is_init_finished(ssl_)) SSL_shutdown(ssl_);
  ERR_clear_error();
  SSL_free(ssl_);
}

int TlsSession::Read(char* bytes, size_t most) {
  ERR_clear_error();
  return Outcome(SSL_read(ssl_, bytes, static_cast<int>(most)));
}

int TlsSession::Write(const char* bytes, size_t count) {
  ERR_clear_error();
  constexpr size_t kMost = std::numeric_limits<int>::max();
  return Outcome(SSL_write(ssl_, bytes, static_cast<int>(std::min(count, kMost))));
}

int TlsSession::Outcome(int result) {
  if (result > 0) return result;
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      return kAgainToRead;
    case SSL_ERROR_WANT_WRITE:
      return kAgainToWrite;
    default:
      return kOver;
  }
}

TlsContext::TlsContext(const TlsFiles& files)
    : files_(files), stamp_(Stamp()), looked_(std::chrono::steady_clock::now()) {
  CheckKeyOf(files.certificate, files.key);
  CheckNotExpired(files.certificate, Clock::System().Now());
  context_ = Load();
  if (context_ == nullptr) {
    throw Error(ErrorCode::kInvalidArgument,
                "the certificate " + files.certificate.string() + " cannot be used for HTTPS");
  }
}

TlsContext::~TlsContext() {
  SSL_CTX_free(context_);
}

std::unique_ptr<TlsSession> TlsContext::Accept(int socket) {
  const auto now = std::chrono::steady_clock::now();
  if (now - looked_ >= files_.reload_every) {
    looked_ = now;
    const std::string stamp = Stamp();
    // Between two writes they may not fit: the former serve until they do.
    if (stamp != stamp_) {
      if (SSL_CTX* fresh = Load()) {
        SSL_CTX_free(context_);
        context_ = fresh;
        stamp_ = stamp;
      }
    }
  }
  return std::make_unique<TlsSession>(context_, socket);
}

// Null where the files cannot be used.
SSL_CTX* TlsContext::Load() const {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  if (context == nullptr) return nullptr;
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  bool good = SSL_CTX_use_certificate_chain_file(context, files_.certificate.c_str()) == 1 &&
              SSL_CTX_use_PrivateKey_file(context, files_.key.c_str(), SSL_FILETYPE_PEM) == 1 &&
              SSL_CTX_check_private_key(context) == 1;
  if (good && files_.client_ca) {
    good = SSL_CTX_load_verify_locations(context, files_.client_ca->c_str(), nullptr) == 1;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    // Without it a session that is taken up again fails where clients are asked for certificates.
    const unsigned char id[] = "syncbn";
    SSL_CTX_set_session_id_context(context, id, sizeof id - 1);
  }
  ERR_clear_error();
  if (good) return context;
  SSL_CTX_free(context);
  return nullptr;
}

std::string TlsContext::Stamp() const {
  std::string stamp;
  for (const auto& file :
       {files_.certificate, files_.key, files_.client_ca.value_or(std::filesystem::path())}) {
    std::error_code ignored;
    stamp +=
        std::to_string(std::filesystem::last_write_time(file, ignored).time_since_epoch().count()) +
        ' ' + std::to_string(std::filesystem::file_size(file, ignored)) + ' ';
  }
  return stamp;
}

}  // namespace syncbn::coordinator
