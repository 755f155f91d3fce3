#include "coordinator/service/acceptor.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "base/clock.h"
#include "base/error.h"
#include "coordinator/service/server_metrics.h"

namespace syncbn::coordinator {
namespace {

constexpr int kMostConnections = 16384;
// How often closed connections are looked for.
constexpr std::chrono::milliseconds kCountEvery{1000};

// Who is at the other end of a socket in the file system; all are one client where that is not
// known.
std::string UserOf(int connection) {
  ucred user{};
  socklen_t size = sizeof user;
  const bool known = ::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &user, &size) == 0;
  return known ? "user " + std::to_string(user.uid) : "";
}

// What is counted as one client's: an address, a network of IPv6, or a user of this machine.
std::string AddressOf(int connection, const sockaddr_storage& peer) {
  if (peer.ss_family == AF_UNIX) return UserOf(connection);
  char text[INET6_ADDRSTRLEN] = "";
  if (peer.ss_family == AF_INET) {
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(peer).sin_addr, text, sizeof text);
  } else if (peer.ss_family == AF_INET6) {
    in6_addr address = reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&address)) {
      ::inet_ntop(AF_INET, &address.s6_addr[12], text, sizeof text);
    } else {
      std::fill(address.s6_addr + 8, address.s6_addr + 16, 0);
      ::inet_ntop(AF_INET6, &address, text, sizeof text);
    }
  }
  return text;
}

// As gRPC writes it; empty for one that it does not tell from others.
std::string PeerOf(const sockaddr_storage& peer) {
  char text[INET6_ADDRSTRLEN] = "";
  if (peer.ss_family == AF_INET) {
    const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(peer);
    ::inet_ntop(AF_INET, &ipv4.sin_addr, text, sizeof text);
    return "ipv4:" + std::string(text) + ":" + std::to_string(ntohs(ipv4.sin_port));
  }
  const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(peer);
  if (peer.ss_family != AF_INET6 || ipv6.sin6_scope_id != 0) return "";
  const std::string port = std::to_string(ntohs(ipv6.sin6_port));
  if (IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr)) {
    ::inet_ntop(AF_INET, &ipv6.sin6_addr.s6_addr[12], text, sizeof text);
    return "ipv4:" + std::string(text) + ":" + port;
  }
  ::inet_ntop(AF_INET6, &ipv6.sin6_addr, text, sizeof text);
  return "ipv6:%5B" + std::string(text) + "%5D:" + port;
}

// 0 where there is no such file. Numbers of sockets are not given twice at a time.
ino_t FileOf(int descriptor) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 ? status.st_ino : 0;
}

}  // namespace

ConnectionLimits ConnectionsThatFit(ConnectionLimits asked) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) files.rlim_cur = 1024;
  const int fit = static_cast<int>(
      std::clamp<rlim_t>(files.rlim_cur / 2, 2, static_cast<rlim_t>(kMostConnections)));
  const int all = asked.all > 0 ? asked.all : fit;
  return {.all = all,
          .per_address = asked.per_address > 0 ? asked.per_address : std::max(1, all / 2)};
}

std::string_view ConnectionLedger::Beyond(const std::string& address) const {
  if (static_cast<int>(open_.size()) >= limits_.all) return "all";
  const auto own = addresses_.find(address);
  return own != addresses_.end() && own->second >= limits_.per_address ? "address" : "";
}

ConnectionLedger::Entered ConnectionLedger::Enter(int connection, const sockaddr_storage& peer) {
  const std::string address = AddressOf(connection, peer);
  std::lock_guard lock(mutex_);
  // The number of one that was closed may have been given again.
  if (!Beyond(address).empty() || open_.contains(connection)) CountOpen();
  Entered entered{.beyond = Beyond(address), .other = Descriptor()};
  if (!entered.beyond.empty()) {
    entered.other = StrikeOldest(entered.beyond == "address" ? address : "");
    entered.beyond = Beyond(address);
  }
  if (!entered.beyond.empty()) return entered;
  Entry entry{.file = FileOf(connection),
              .number = ++last_,
              .address = address,
              .peer = PeerOf(peer),
              .vouched = false};
  // One that nobody could vouch for is not ended for that.
  entry.vouched = entry.peer.empty();
  if (!entry.vouched) peers_[entry.peer] = connection;
  ++addresses_[address];
  open_[connection] = std::move(entry);
  return entered;
}

// Of those of the address; where it is empty, of the address that has most of them; -1 where all are
// vouched for.
Descriptor ConnectionLedger::StrikeOldest(const std::string& address) {
  struct Silent {
    int count = 0, oldest = -1;
  };
  std::map<std::string_view, Silent> silent;
  for (const auto& [connection, entry] : open_) {
    if (entry.vouched || (!address.empty() && entry.address != address)) continue;
    Silent& own = silent[entry.address];
    if (own.count++ == 0 || entry.number < open_.at(own.oldest).number) own.oldest = connection;
  }
  const auto most = std::max_element(
      silent.begin(), silent.end(),
      [](const auto& one, const auto& other) { return one.second.count < other.second.count; });
  if (most == silent.end()) return Descriptor();
  const auto found = open_.find(most->second.oldest);
  // The owner may close it this moment, and the number be another file's: not so the copy's.
  Descriptor copy(::fcntl(found->first, F_DUPFD_CLOEXEC, 0));
  if (copy.get() < 0 && errno == EMFILE) return copy;
  if (FileOf(copy.get()) != found->second.file) copy = Descriptor();
  StrikeOut(found->first, found->second);
  open_.erase(found);
  return copy;
}

void ConnectionLedger::Vouch(const std::string& peer) {
  std::lock_guard lock(mutex_);
  const auto found = peers_.find(peer);
  if (found != peers_.end()) open_.at(found->second).vouched = true;
}

int ConnectionLedger::Count() {
  std::lock_guard lock(mutex_);
  CountOpen();
  return static_cast<int>(open_.size());
}

void ConnectionLedger::CountOpen() {
  std::erase_if(open_, [this](const auto& entry) {
    if (FileOf(entry.first) == entry.second.file) return false;
    StrikeOut(entry.first, entry.second);
    return true;
  });
}

void ConnectionLedger::StrikeOut(int connection, const Entry& entry) {
  // A later connection may have come from the same port.
  const auto peer = peers_.find(entry.peer);
  if (peer != peers_.end() && peer->second == connection) peers_.erase(peer);
  const auto own = addresses_.find(entry.address);
  if (--own->second == 0) addresses_.erase(own);
}

Acceptor::Acceptor(std::vector<ListeningSocket> sockets, Options options)
    : sockets_(std::move(sockets)),
      options_(std::move(options)),
      ledger_(options_.limits),
      spare_(::open("/dev/null", O_RDONLY | O_CLOEXEC)),
      stop_(::eventfd(0, EFD_CLOEXEC)) {
  if (spare_.get() < 0 || stop_.get() < 0) {
    throw Error(ErrorCode::kResourceExhausted,
                "no more files can be opened: raise the limit (ulimit -n)");
  }
  thread_ = std::thread([this] { Loop(); });
}

void Acceptor::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

void Acceptor::Loop() {
  std::vector<pollfd> waits = {{.fd = stop_.get(), .events = POLLIN}};
  for (const ListeningSocket& one : sockets_)
    waits.push_back({.fd = one.socket.get(), .events = POLLIN});
  MonotonicTime counted;
  while (true) {
    if (const MonotonicTime now = Clock::System().Monotonic(); now - counted >= kCountEvery) {
      counted = now;
      const int open = ledger_.Count();
      if (options_.metrics != nullptr) options_.metrics->SetConnections(options_.port, open);
    }
    ::poll(waits.data(), waits.size(), static_cast<int>(kCountEvery.count()));
    if (waits[0].revents != 0) return;
    for (size_t i = 1; i < waits.size(); ++i) {
      if (waits[i].revents != 0) AcceptAll(waits[i].fd);
    }
  }
}

void Acceptor::AcceptAll(int listening) {
  while (true) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    const int connection = ::accept4(listening, reinterpret_cast<sockaddr*>(&peer), &size,
                                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection >= 0) {
      Take(connection, peer);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      SendAway(listening);
      return;
    } else if (errno != ECONNABORTED && errno != EINTR) {
      return;
    }
    // One that has left already, or a signal: to the next.
  }
}

void Acceptor::Take(int connection, const sockaddr_storage& peer) {
  const ConnectionLedger::Entered entered = ledger_.Enter(connection, peer);
  // Counted before the clients can see it.
  if (entered.other.get() >= 0) {
    Refuse("silent");
    ::shutdown(entered.other.get(), SHUT_RDWR);
  }
  if (!entered.beyond.empty()) {
    Refuse(entered.beyond);
    ::close(connection);
    return;
  }
  const int yes = 1;
  ::setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  options_.take(connection);
}

void Acceptor::SendAway(int listening) {
  spare_ = Descriptor();
  Descriptor refused(::accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  Refuse("files");
  // Not in a circle at full speed where not even that helps.
  if (refused.get() < 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  refused = Descriptor();
  spare_ = Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

void Acceptor::Refuse(std::string_view why) {
  if (options_.metrics != nullptr) options_.metrics->CountRefusedConnection(options_.port, why);
}

}  // namespace syncbn::coordinator
