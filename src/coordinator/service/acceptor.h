// Takes connections on a server's ports and hands them on: at most so many at a time, at most so
// many of one address. gRPC's own listener is for good when the process runs out of descriptors;
// this one goes on, and counts what it refuses. Where there is no place left, the oldest connection
// that nobody has vouched for gives up its own: who connects and then says nothing of use keeps
// nobody out. Where all are vouched for, the new one is refused at once (the client sees it, and does
// not wait).
//
// Whoever gets a connection closes it, and tells nobody: that it is closed is seen from its
// descriptor, which then is another file or none.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "coordinator/service/listening.h"

namespace syncbn::coordinator {

class ServerMetrics;

struct ConnectionLimits {
  int all = 0;
  // Of one IPv4 address, one IPv6 network (/64), or one user at a socket in the file system.
  int per_address = 0;
};

// Where `asked` says 0: of all, what leaves the half of the files that may be open for everything
// else, 16384 at most; of one address, half of all.
ConnectionLimits ConnectionsThatFit(ConnectionLimits asked);

// The connections that are open. Thread-safe.
class ConnectionLedger {
 public:
  struct Entered {
    // The limit that it is beyond, "all" or "address"; empty: it is in.
    std::string_view beyond;
    // Another one that lost its place to it, still to be shut down; -1: none.
    Descriptor other;
  };

  explicit ConnectionLedger(ConnectionLimits limits) : limits_(limits) {}

  Entered Enter(int connection, const sockaddr_storage& peer);
  // The connection of this peer, as gRPC writes it ("ipv4:127.0.0.1:54321"), keeps its place.
  void Vouch(const std::string& peer);
  // Strikes out those that have been closed, and returns how many there are.
  int Count();

 private:
  struct Entry {
    ino_t file;
    int64_t number;  // they are numbered as they come
    std::string address, peer;
    bool vouched;
  };

  std::string_view Beyond(const std::string& address) const;
  Descriptor StrikeOldest(const std::string& address);
  void CountOpen();
  void StrikeOut(int connection, const Entry& entry);

  std::mutex mutex_;
  ConnectionLimits limits_;
  int64_t last_ = 0;
  std::map<int, Entry> open_;             // by descriptor
  std::map<std::string, int> addresses_;  // how many of each
  std::map<std::string, int> peers_;      // their descriptors
};

class Acceptor {
 public:
  struct Options {
    // In figures: "grpc", "http".
    std::string port;
    ConnectionLimits limits;
    // May be null.
    ServerMetrics* metrics = nullptr;
    // Owns the connection from now on. It does not block (O_NONBLOCK). Called by one thread.
    std::function<void(int connection)> take;
  };

  Acceptor(std::vector<ListeningSocket> sockets, Options options);
  ~Acceptor() { Stop(); }
  // Takes no more; connections that were handed on stay.
  void Stop();
  // ConnectionLedger's. Thread-safe.
  void Vouch(const std::string& peer) { ledger_.Vouch(peer); }

 private:
  void Loop();
  void AcceptAll(int listening);
  void Take(int connection, const sockaddr_storage& peer);
  // No descriptor is left for the client that waits first: it is sent away.
  void SendAway(int listening);
  void Refuse(std::string_view why);

  std::vector<ListeningSocket> sockets_;
  Options options_;
  ConnectionLedger ledger_;
  Descriptor spare_;  // given up for a moment where there is no other
  Descriptor stop_;
  std::thread thread_;
};

}  // namespace syncbn::coordinator
