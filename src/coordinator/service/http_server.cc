#include "coordinator/service/http_server.h"

#include <httplib.h>

#include "base/error.h"
#include "coordinator/service/address.h"

namespace syncbn::coordinator {

HttpServer::HttpServer(Options options)
    : options_(std::move(options)), server_(std::make_unique<httplib::Server>()) {
  // A scrape now and then needs no more, and nobody can take more.
  server_->new_task_queue = [] { return new httplib::ThreadPool(2); };
  server_->set_read_timeout(5);
  server_->set_write_timeout(5);
  server_->set_keep_alive_timeout(5);
  server_->set_payload_max_length(1024);
  server_->Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("ok\n", "text/plain");
  });
  server_->Get("/readyz", [this](const httplib::Request&, httplib::Response& response) {
    const bool ready = options_.ready();
    response.status = ready ? 200 : 503;
    response.set_content(ready ? "ready\n" : "not serving\n", "text/plain");
  });
  server_->Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
    response.set_content(options_.metrics(), "text/plain; version=0.0.4; charset=utf-8");
  });
  server_->set_exception_handler(
      [](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
        response.status = 500;
        response.set_content("the figures cannot be read now; the log tells more\n", "text/plain");
      });

  // The library's own choice is SO_REUSEPORT, with which two servers share a port unnoticed.
  server_->set_socket_options([](socket_t socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  const auto [host, port] = SplitAddress(options_.address);
  std::string bare = host;
  if (bare.starts_with('[')) bare = bare.substr(1, bare.size() - 2);
  int actual = port;
  if (port == 0) {
    actual = server_->bind_to_any_port(bare);
  } else if (!server_->bind_to_port(bare, port)) {
    actual = -1;
  }
  if (actual < 0) {
    throw Error(ErrorCode::kUnavailable,
                "cannot listen on " + options_.address +
                    " for HTTP: the port is taken, or the address is not of this machine");
  }
  address_ = host + ":" + std::to_string(actual);
  thread_ = std::thread([this] { server_->listen_after_bind(); });
  // Until then stop() would have no effect. The socket takes connections already.
  while (!server_->is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

HttpServer::~HttpServer() {
  server_->stop();
  thread_.join();
}

}  // namespace syncbn::coordinator
