// The server's certificates: PEM files that are read again when they change.
#pragma once

#include <grpcpp/security/server_credentials.h>

#include <filesystem>
#include <memory>
#include <optional>

#include "base/clock.h"

namespace syncbn::coordinator {

struct TlsFiles {
  // The server's certificate, followed by those between it and its root.
  std::filesystem::path certificate;
  std::filesystem::path key;
  // Roots of the clients' certificates. Given: every client must show one (mutual TLS).
  std::optional<std::filesystem::path> client_ca;
  // How often the files are looked at.
  std::chrono::seconds reload_every = std::chrono::seconds(10);
};

// Checks the files (they can be read, are PEM, fit together, have not expired: INVALID_ARGUMENT or
// what ReadFile throws, naming file and fault), then makes credentials that follow their changes.
// Connections that are open go on with the certificate they began with. A key and a certificate
// that do not fit together, as between two writes, fail new connections until they do: replace the
// folder, or the files one right after the other.
std::shared_ptr<grpc::ServerCredentials> MakeTlsCredentials(const TlsFiles& files,
                                                            const Clock& clock = Clock::System());

}  // namespace syncbn::coordinator
