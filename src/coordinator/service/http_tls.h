// TLS for the HTTP port: the certificate of the API, read again when its files change.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include "coordinator/service/tls.h"

typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;

namespace syncbn::coordinator {

// One connection. Not thread-safe. Nothing here blocks.
class TlsSession {
 public:
  // Of Read and Write: bytes moved, or one of these.
  static constexpr int kAgainToRead = -1, kAgainToWrite = -2, kOver = 0;

  TlsSession(SSL_CTX* context, int socket);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  int Read(char* bytes, size_t most);
  int Write(const char* bytes, size_t count);

 private:
  int Outcome(int result);

  SSL* ssl_;
};

// Makes sessions with the newest certificate whose files fit together. Used by one thread.
class TlsContext {
 public:
  // Throws as MakeTlsCredentials (tls.h).
  explicit TlsContext(const TlsFiles& files);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  std::unique_ptr<TlsSession> Accept(int socket);

 private:
  SSL_CTX* Load() const;
  std::string Stamp() const;

  TlsFiles files_;
  std::string stamp_;  // of the files when they were read
  std::chrono::steady_clock::time_point looked_;
  SSL_CTX* context_;
};

}  // namespace syncbn::coordinator
