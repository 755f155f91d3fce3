#include "coordinator/service/address.h"

#include <netdb.h>
#include <sys/socket.h>

#include "base/error.h"

namespace syncbn::coordinator {

std::pair<std::string, int> SplitAddress(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon != std::string::npos && colon + 1 < address.size() && address.size() - colon <= 6 &&
      address.find_first_not_of("0123456789", colon + 1) == std::string::npos) {
    port = std::stoi(address.substr(colon + 1));
  }
  const std::string host = address.substr(0, colon == std::string::npos ? 0 : colon);
  const bool bare_ipv6 = host.find(':') != std::string::npos && host.front() != '[';
  if (port < 0 || port > 65535 || host.empty() || bare_ipv6) {
    throw Error(ErrorCode::kInvalidArgument,
                "'" + address +
                    "' is not an address: write HOST:PORT (127.0.0.1:7700, [::1]:7700, port 0 for a "
                    "free one) or unix:/PATH");
  }
  return {host, port};
}

std::optional<std::string> WhyUnresolved(const std::string& address) {
  if (address.starts_with("unix:")) return std::nullopt;
  const auto [name, port] = SplitAddress(address);
  const bool bracketed = name.front() == '[';  // no host is empty
  const std::string host = bracketed ? name.substr(1, name.size() - 2) : name;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failure = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (failure != 0) return ::gai_strerror(failure);
  ::freeaddrinfo(found);
  return std::nullopt;
}

bool IsLoopback(const std::string& address) {
  if (address.starts_with("unix:")) return true;
  const std::string host = SplitAddress(address).first;
  return host == "localhost" || host == "[::1]" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos);
}

}  // namespace syncbn::coordinator
