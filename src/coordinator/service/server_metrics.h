// Figures of the coordinator for Prometheus. What is counted as it happens is counted here; what
// can be looked up (jobs, slots, sizes) is asked for when somebody scrapes.
//
// Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace syncbn::coordinator {

class Store;

// What the scheduler knows; asked for at every scrape.
struct ClusterFigures {
  int64_t queue_length = 0;
  int64_t slots = 0;
  int64_t used_slots = 0;
  int64_t hosts = 0;
  int64_t unavailable_hosts = 0;  // drained or excluded
};

class ServerMetrics {
 public:
  struct Options {
    // Both may be missing: their figures then are.
    Store* store = nullptr;
    std::function<ClusterFigures()> cluster;
    std::string version;
  };

  explicit ServerMetrics(Options options);
  ~ServerMetrics();

  // A call that has ended. `duration` counts only for calls that are no streams.
  void CountCall(std::string_view method, std::string_view code, bool stream,
                 std::chrono::duration<double> duration);
  // Streams that are open.
  void AddStream(std::string_view method, int by);
  // Connections that are open on a port ("grpc", "http"), and one that was refused: "all" or
  // "address" for the limit it was beyond, "files" where the process had no descriptor left.
  void SetConnections(std::string_view port, int64_t open);
  void CountRefusedConnection(std::string_view port, std::string_view why);
  void CountMetricPoints(int64_t points);
  void CountLostPoints(int64_t points);

  // The text format of Prometheus, version 0.0.4.
  std::string Text() const;

 private:
  struct Families;

  Options options_;
  std::unique_ptr<Families> families_;
};

}  // namespace syncbn::coordinator
