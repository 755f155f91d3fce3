// The HTTP port: for load balancers, supervisors and Prometheus, and for whatever pages it is given
// (coordinator/web).
//
//   GET /healthz   200 while the process answers
//   GET /readyz    200 when it serves, else 503 and why not
//   GET /metrics   figures in the text format of Prometheus (server_metrics.h)
//
// These tell no secrets and take no orders. With TLS files the port speaks TLS to whoever begins
// so, and without to all others; pages are told which it was.
//
// A client has `patience` for all of a request, and as long without a byte taken of an answer.
// Where too many are connected, the oldest that asks for nothing is ended: slow clients keep nobody
// out.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "coordinator/service/http_message.h"
#include "coordinator/service/http_reply.h"
#include "coordinator/service/tls.h"

namespace syncbn::coordinator {

class ServerMetrics;

// Answers a request, now or later. Called by one of a few threads that all clients share; what it
// throws is answered with 500.
using HttpHandler = std::function<void(HttpRequest request, std::shared_ptr<HttpReply> reply)>;

class HttpServer {
 public:
  struct Options {
    // Port 0: a free one.
    std::string address = "127.0.0.1:7701";
    // Why it does not serve; empty: it does.
    std::function<std::string()> why_not_ready;
    std::function<std::string()> metrics;
    // For all other paths; without it there are none.
    HttpHandler pages;
    std::optional<TlsFiles> tls;
    std::chrono::milliseconds patience = std::chrono::seconds(5);
    // Of a connection that has had its answer and may ask again.
    std::chrono::milliseconds idle_limit = std::chrono::seconds(30);
    // Where connections are counted. May be null.
    ServerMetrics* figures = nullptr;
  };

  // Listens when it returns. UNAVAILABLE when the address cannot be had.
  explicit HttpServer(Options options);
  // Stops listening, ends all clients, and waits for answers that are being made by its own
  // threads.
  ~HttpServer();

  // With the port that was chosen.
  const std::string& address() const { return address_; }

 private:
  class Clients;

  std::string address_;
  std::unique_ptr<Clients> clients_;
};

}  // namespace syncbn::coordinator
