#include "coordinator/service/address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

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
  std::string host = SplitAddress(address).first;
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
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

namespace {

std::string ReasonOfBind(int error) {
  switch (error) {
    case EADDRINUSE:
      return "another process listens there; choose another port, or port 0 for a free one";
    case EADDRNOTAVAIL:
      return "it is not an address of this machine";
    case EACCES:
      return "this user may not use it (ports below 1024 are root's)";
    default:
      return std::strerror(error);
  }
}

std::string WhyNotListenUnix(const std::filesystem::path& path) {
  if (path.string().size() >= sizeof(sockaddr_un::sun_path)) {
    return "the path is longer than the " + std::to_string(sizeof(sockaddr_un::sun_path) - 1) +
           " bytes that the name of a socket can have";
  }
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) return "there is no folder " + folder.string();
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    return "this user may make no files in " + folder.string();
  if (std::filesystem::exists(path, error))
    return path.string() +
           " is there already: another process listens there, or it is another file";
  return "no reason is known";
}

}  // namespace

std::string WhyNotListen(const std::string& address) {
  if (address.starts_with("unix:")) return WhyNotListenUnix(address.substr(5));
  auto [host, port] = SplitAddress(address);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  const int unknown = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (unknown != 0) return "the name " + host + " has no address (" + ::gai_strerror(unknown) + ")";
  std::string reason = "another process has had it until a moment ago; try again";
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    const int socket = ::socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket < 0) continue;
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (::bind(socket, one->ai_addr, one->ai_addrlen) != 0 || ::listen(socket, 1) != 0)
      reason = ReasonOfBind(errno);
    ::close(socket);
  }
  ::freeaddrinfo(found);
  return reason;
}

}  // namespace syncbn::coordinator
