// Whether a gRPC server takes connections: the question that only a connection answers.
#pragma once

#include <string>

namespace syncbn::coordinator {

// Connects as a client would and waits for the server's first words: the settings of HTTP/2, or,
// with TLS, its side of the handshake. 2 s at most. Nothing of the server is checked but that it
// answers.
bool Answers(const std::string& address, bool tls);

}  // namespace syncbn::coordinator
