#include "coordinator/service/http_server.h"

#include <httplib.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <list>
#include <mutex>

#include "base/clock.h"
#include "coordinator/service/acceptor.h"

namespace syncbn::coordinator {
namespace {

// Of connections that are looked at; a scrape now and then needs one.
constexpr size_t kMostClients = 64;
constexpr size_t kMostRequest = 8192;

// A request that is there as a whole, and its answer.
class Exchange final : public httplib::Stream {
 public:
  explicit Exchange(std::string request) : request_(std::move(request)) {}

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  ssize_t read(char* bytes, size_t most) override {
    const size_t count = request_.copy(bytes, most, read_);
    read_ += count;
    return static_cast<ssize_t>(count);
  }
  ssize_t write(const char* bytes, size_t count) override {
    answer_.append(bytes, count);
    return static_cast<ssize_t>(count);
  }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return -1; }

  std::string TakeAnswer() { return std::move(answer_); }

 private:
  std::string request_, answer_;
  size_t read_ = 0;
};

}  // namespace

// The library reads requests and writes answers. It does not wait for clients: it would give each a
// thread for as long as a byte comes now and then.
class HttpServer::Pages : public httplib::Server {
 public:
  // (Options is a method of the library's server.)
  explicit Pages(const HttpServer::Options& options) {
    Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
      response.set_content("ok\n", "text/plain");
    });
    Get("/readyz", [why_not = options.why_not_ready](const httplib::Request&,
                                                     httplib::Response& response) {
      const std::string why = why_not();
      response.status = why.empty() ? 200 : 503;
      response.set_content(why.empty() ? "ready\n" : "not serving: " + why + "\n", "text/plain");
    });
    Get("/metrics", [text = options.metrics](const httplib::Request&, httplib::Response& response) {
      response.set_content(text(), "text/plain; version=0.0.4; charset=utf-8");
    });
    set_exception_handler(
        [](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
          response.status = 500;
          response.set_content("this cannot be read now; the log tells more\n", "text/plain");
        });
  }

  std::string Answer(std::string request) {
    Exchange exchange(std::move(request));
    bool closed = false;
    process_request(exchange, true, closed, nullptr);
    return exchange.TakeAnswer();
  }
};

// One thread waits for all clients; two make answers.
class HttpServer::Connections {
 public:
  Connections(std::vector<ListeningSocket> sockets, Pages& pages, const Options& options)
      : pages_(pages),
        patience_(options.patience),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    thread_ = std::thread([this] { Loop(); });
    const int most = static_cast<int>(2 * kMostClients);
    acceptor_ = std::make_unique<Acceptor>(
        std::move(sockets), Acceptor::Options{.port = "http",
                                              .limits = {.all = most, .per_address = most},
                                              .metrics = options.figures,
                                              .take = [this](int connection) {
                                                Post([&] { arrived_.emplace_back(connection); });
                                              }});
  }
  ~Connections() {
    acceptor_.reset();
    Post([this] { stop_ = true; });
    thread_.join();
    makers_.shutdown();
  }

 private:
  enum class Phase { kRequest, kMaking, kAnswer };

  struct Client {
    Descriptor socket;
    int64_t number;
    Phase phase = Phase::kRequest;
    std::string bytes;  // of the request so far, or what is left of the answer
    MonotonicTime deadline;
  };

  // Changes what is shared with other threads, and wakes the one that waits.
  template <typename Change>
  void Post(const Change& change) {
    {
      std::lock_guard lock(mutex_);
      change();
    }
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
  }

  void Loop() {
    std::vector<pollfd> waits;
    while (AcceptPosted()) {
      waits = {{.fd = wake_.get(), .events = POLLIN}};
      for (const Client& client : clients_) {
        const short events = client.phase == Phase::kRequest  ? POLLIN
                             : client.phase == Phase::kAnswer ? POLLOUT
                                                              : 0;
        waits.push_back({.fd = client.socket.get(), .events = events});
      }
      // Deadlines are looked at a few times a second.
      ::poll(waits.data(), waits.size(), clients_.empty() ? -1 : 200);
      uint64_t ignored = 0;
      [[maybe_unused]] const ssize_t read = ::read(wake_.get(), &ignored, sizeof ignored);
      const MonotonicTime now = Clock::System().Monotonic();
      size_t i = 0;
      std::erase_if(clients_, [&](Client& client) {
        const bool stirs = waits[++i].revents != 0;
        return (stirs && !GoOn(client)) || now >= client.deadline;
      });
    }
  }

  // What other threads have posted; false at the end.
  bool AcceptPosted() {
    std::lock_guard lock(mutex_);
    if (stop_) return false;
    const MonotonicTime deadline = Clock::System().Monotonic() + patience_;
    for (Descriptor& socket : arrived_) {
      if (clients_.size() >= kMostClients) EndOldest();
      clients_.push_back({.socket = std::move(socket), .number = ++last_, .deadline = deadline});
    }
    arrived_.clear();
    for (auto& [number, answer] : answers_) {
      const auto client =
          std::find_if(clients_.begin(), clients_.end(),
                       [number = number](const Client& one) { return one.number == number; });
      if (client == clients_.end()) continue;
      client->phase = Phase::kAnswer;
      client->bytes = std::move(answer);
      client->deadline = deadline;
    }
    answers_.clear();
    return true;
  }

  // Those who have asked go before those who have not yet.
  void EndOldest() {
    const auto slow = std::find_if(clients_.begin(), clients_.end(),
                                   [](const Client& one) { return one.phase == Phase::kRequest; });
    clients_.erase(slow == clients_.end() ? clients_.begin() : slow);
  }

  // False: done with it.
  bool GoOn(Client& client) {
    if (client.phase == Phase::kMaking) return false;  // it has left
    if (client.phase == Phase::kRequest) return Read(client);
    const ssize_t sent = ::send(client.socket.get(), client.bytes.data(), client.bytes.size(),
                                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    client.bytes.erase(0, static_cast<size_t>(sent));
    return !client.bytes.empty();
  }

  bool Read(Client& client) {
    char bytes[2048];
    const ssize_t count = ::recv(client.socket.get(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    client.bytes.append(bytes, static_cast<size_t>(count));
    if (count == 0 || client.bytes.size() > kMostRequest) return false;
    if (client.bytes.find("\r\n\r\n") == std::string::npos) return true;
    // Whoever asks and leaves must not make work without an end.
    if (making_ >= kMostClients) return false;
    ++making_;
    client.phase = Phase::kMaking;
    makers_.enqueue([this, number = client.number, request = std::move(client.bytes)]() mutable {
      std::string answer = pages_.Answer(std::move(request));
      --making_;
      Post([&] { answers_.emplace_back(number, std::move(answer)); });
    });
    client.bytes.clear();
    return true;
  }

  Pages& pages_;
  const std::chrono::milliseconds patience_;
  Descriptor wake_;
  std::mutex mutex_;
  bool stop_ = false;
  std::deque<Descriptor> arrived_;
  std::deque<std::pair<int64_t, std::string>> answers_;
  std::list<Client> clients_;  // of the thread alone, oldest first
  int64_t last_ = 0;
  std::atomic<size_t> making_ = 0;
  httplib::ThreadPool makers_{2};
  std::thread thread_;
  std::unique_ptr<Acceptor> acceptor_;
};

HttpServer::HttpServer(Options options) : pages_(std::make_unique<Pages>(options)) {
  std::vector<ListeningSocket> sockets = ListenOn(options.address, " for HTTP");
  address_ = sockets.front().address;
  connections_ = std::make_unique<Connections>(std::move(sockets), *pages_, options);
}

HttpServer::~HttpServer() = default;

}  // namespace syncbn::coordinator
