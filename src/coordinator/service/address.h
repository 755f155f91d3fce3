// Addresses to listen on, and where others find this server.
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace syncbn::coordinator {

// Host and port of "HOST:PORT", an IPv6 host in brackets. INVALID_ARGUMENT for anything else.
std::pair<std::string, int> SplitAddress(const std::string& address);

// "127.0.0.1:7700", "localhost:0", "[::1]:7700", "unix:/run/syncbn.sock": reached from this machine
// only.
bool IsLoopback(const std::string& address);

// Why the host of an address has none from here, in the words of the system; nothing where it has
// one.
std::optional<std::string> WhyUnresolved(const std::string& address);

}  // namespace syncbn::coordinator
