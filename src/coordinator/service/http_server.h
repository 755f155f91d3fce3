// The small HTTP port: for load balancers, supervisors and Prometheus. It tells no secrets and
// takes no orders.
//
//   GET /healthz   200 while the process answers
//   GET /readyz    200 when it serves, else 503
//   GET /metrics   figures in the text format of Prometheus (server_metrics.h)
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

namespace httplib {
class Server;
}

namespace syncbn::coordinator {

class HttpServer {
 public:
  struct Options {
    // Port 0: a free one.
    std::string address = "127.0.0.1:7701";
    std::function<bool()> ready;
    std::function<std::string()> metrics;
  };

  // Listens when it returns. UNAVAILABLE when the address cannot be had.
  explicit HttpServer(Options options);
  // Stops listening and waits for requests under way, a few seconds at most.
  ~HttpServer();

  // With the port that was chosen.
  const std::string& address() const { return address_; }

 private:
  Options options_;
  std::unique_ptr<httplib::Server> server_;
  std::string address_;
  std::thread thread_;
};

}  // namespace syncbn::coordinator
