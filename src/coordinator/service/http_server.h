// The small HTTP port: for load balancers, supervisors and Prometheus. It tells no secrets and
// takes no orders.
//
//   GET /healthz   200 while the process answers
//   GET /readyz    200 when it serves, else 503 and why not
//   GET /metrics   figures in the text format of Prometheus (server_metrics.h)
//
// A client has `patience` for all of its request, and as much to take the answer; one request a
// connection. Where too many are under way, the oldest is ended: slow clients keep nobody out.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace syncbn::coordinator {

class ServerMetrics;

class HttpServer {
 public:
  struct Options {
    // Port 0: a free one.
    std::string address = "127.0.0.1:7701";
    // Why it does not serve; empty: it does.
    std::function<std::string()> why_not_ready;
    std::function<std::string()> metrics;
    // For all of a request, and for all of the answer.
    std::chrono::milliseconds patience = std::chrono::seconds(5);
    // Where connections are counted. May be null.
    ServerMetrics* figures = nullptr;
  };

  // Listens when it returns. UNAVAILABLE when the address cannot be had.
  explicit HttpServer(Options options);
  // Stops listening, and waits for answers that are being made.
  ~HttpServer();

  // With the port that was chosen.
  const std::string& address() const { return address_; }

 private:
  class Pages;
  class Connections;

  std::string address_;
  std::unique_ptr<Pages> pages_;
  std::unique_ptr<Connections> connections_;
};

}  // namespace syncbn::coordinator
