#include "coordinator/service/listening.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "coordinator/service/address.h"

namespace syncbn::coordinator {
namespace {

constexpr std::string_view kUnix = "unix:";

struct SocketAddress {
  sockaddr_storage bytes{};
  socklen_t size = 0;

  int family() const { return bytes.ss_family; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&bytes); }
};

std::vector<SocketAddress> UnixAddress(const std::string& path) {
  sockaddr_un local{};
  local.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof local.sun_path) {
    throw Error(ErrorCode::kInvalidArgument,
                "'" + std::string(kUnix) + path + "' is not an address: a socket's path has 1 to " +
                    std::to_string(sizeof local.sun_path - 1) + " bytes");
  }
  std::memcpy(local.sun_path, path.data(), path.size());
  SocketAddress address{.size = sizeof local};
  std::memcpy(&address.bytes, &local, sizeof local);
  return {address};
}

std::string ReasonOf(int error) {
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

// The system's words for a socket's path do not say which part of it is wrong.
std::string ReasonOfPath(const std::filesystem::path& path, int cause) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) return "there is no folder " + folder.string();
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    return "this user may make no files in " + folder.string();
  if (std::filesystem::exists(path, error))
    return path.string() +
           " is there already: another process listens there, or it is another file";
  return std::strerror(cause);
}

std::string ReasonOf(const std::string& address, int cause) {
  if (address.starts_with(kUnix)) return ReasonOfPath(address.substr(kUnix.size()), cause);
  if (cause != 0) return ReasonOf(cause);
  const std::string host = SplitAddress(address).first;
  return "the name " + host + " has no address (" + WhyUnresolved(address).value_or("unknown") +
         ")";
}

// All that a host's name stands for; none where it is not known.
std::vector<SocketAddress> Resolve(const std::string& text) {
  if (text.starts_with(kUnix)) return UnixAddress(text.substr(kUnix.size()));
  auto [host, port] = SplitAddress(text);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, ::freeaddrinfo);
  std::vector<SocketAddress> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    SocketAddress& address = addresses.emplace_back();
    std::memcpy(&address.bytes, one->ai_addr, one->ai_addrlen);
    address.size = one->ai_addrlen;
  }
  return addresses;
}

in_port_t& PortOf(SocketAddress& address) {
  return address.family() == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address.bytes)->sin6_port
                                      : reinterpret_cast<sockaddr_in*>(&address.bytes)->sin_port;
}

bool ConnectSocket(int socket, const SocketAddress& address) {
  return ::connect(socket, address.get(), address.size) == 0;
}

// What a server that was killed has left there; false where somebody answers.
bool ClearAway(const SocketAddress& address) {
  const char* path = reinterpret_cast<const sockaddr_un*>(&address.bytes)->sun_path;
  struct stat status {};
  if (::lstat(path, &status) != 0 || !S_ISSOCK(status.st_mode)) return true;
  const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (ConnectSocket(probe.get(), address)) return false;
  return ::unlink(path) == 0;
}

Descriptor Listen(const SocketAddress& address) {
  if (address.family() == AF_UNIX && !ClearAway(address)) {
    errno = EADDRINUSE;
    return Descriptor();
  }
  Descriptor socket(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.get() < 0) return socket;
  // Not SO_REUSEPORT, with which two servers share a port unnoticed.
  const int yes = 1, no = 0;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  // [::] is every address of the machine, those of IPv4 too.
  if (address.family() == AF_INET6)
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
  if (::bind(socket.get(), address.get(), address.size) != 0 ||
      ::listen(socket.get(), SOMAXCONN) != 0) {
    const int cause = errno;
    socket = Descriptor();
    errno = cause;
  }
  return socket;
}

int ChosenPort(const Descriptor& socket) {
  SocketAddress bound{.size = sizeof(sockaddr_storage)};
  ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound.bytes), &bound.size);
  return ntohs(PortOf(bound));
}

}  // namespace

std::vector<ListeningSocket> ListenOn(const std::string& address, const std::string& purpose) {
  std::vector<ListeningSocket> sockets;
  const bool local = address.starts_with(kUnix);
  int port = 0, cause = 0;
  for (SocketAddress one : Resolve(address)) {
    // A host of several addresses has one port.
    if (port != 0) PortOf(one) = htons(static_cast<in_port_t>(port));
    Descriptor socket = Listen(one);
    if (socket.get() < 0) cause = errno;
    // ::1 of localhost, where the machine has no IPv6: the other address will do.
    if (socket.get() < 0 && (cause == EADDRNOTAVAIL || cause == EAFNOSUPPORT)) continue;
    if (socket.get() < 0) {
      sockets.clear();
      break;
    }
    if (!local) port = ChosenPort(socket);
    sockets.push_back({.socket = std::move(socket)});
  }
  if (sockets.empty()) {
    throw Error(ErrorCode::kUnavailable,
                "cannot listen on " + address + purpose + ": " + ReasonOf(address, cause));
  }
  for (ListeningSocket& one : sockets)
    one.address = local ? address : SplitAddress(address).first + ":" + std::to_string(port);
  return sockets;
}

Descriptor ConnectTo(const std::string& address, int seconds) {
  // The address that means every one is, as a destination, this machine.
  for (const SocketAddress& one : Resolve(address)) {
    Descriptor socket(::socket(one.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval patience{.tv_sec = seconds, .tv_usec = 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (ConnectSocket(socket.get(), one)) return socket;
  }
  return Descriptor();
}

}  // namespace syncbn::coordinator
