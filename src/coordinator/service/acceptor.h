// Takes connections on a server's ports and hands them on: at most so many at a time, at most so
// many of one address. gRPC's own listener is for good when the process runs out of descriptors;
// this one goes on, refuses what is too much at once (the client sees it, and does not wait), and
// counts it.
//
// Whoever gets a connection closes it, and tells nobody: that it is closed is seen from its
// descriptor, which then is another file or none.
#pragma once

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
  // Of one IPv4 address, one IPv6 network (/64), or all users of a socket in the file system.
  int per_address = 0;
};

// Raises the number of files that this process may have open as far as it may itself (65536 at
// most).
void RaiseFileLimit();
// What leaves the half of the files that may be open for everything else; 16384 at most. Half of
// the connections may come from one address.
ConnectionLimits ConnectionsThatFit();

// The connections that are open. Not thread-safe.
class ConnectionLedger {
 public:
  explicit ConnectionLedger(ConnectionLimits limits) : limits_(limits) {}

  // Enters a connection from `address`. Otherwise says which limit it is beyond: "all" or
  // "address".
  std::string_view Enter(int connection, const std::string& address);
  // Strikes out those that have been closed, and returns how many there are.
  int Count();

 private:
  struct Entry {
    ino_t file;
    std::string address;
  };

  ConnectionLimits limits_;
  std::map<int, Entry> open_;             // by descriptor
  std::map<std::string, int> addresses_;  // how many of each
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
  // Takes no more; connections that were handed on stay.
  ~Acceptor();

 private:
  void Loop();
  void AcceptAll(int listening);
  void Take(int connection, const std::string& address);
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
