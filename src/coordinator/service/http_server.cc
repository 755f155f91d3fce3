#include "coordinator/service/http_server.h"

#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "base/clock.h"
#include "coordinator/service/acceptor.h"
#include "coordinator/service/http_client.h"

namespace syncbn::coordinator {
namespace {

// Of connections that are looked at, and of those the streams.
constexpr size_t kMostClients = 1024, kMostStreams = 768;
// Answers that are being made or wait for it.
constexpr size_t kMostMaking = 256;
// Bytes of requests that wait for their rest, of all clients.
constexpr size_t kMostWaiting = size_t{64} << 20;
// Without a byte taken of a stream that has some to send.
constexpr std::chrono::seconds kStreamPatience{30};
constexpr int kMakers = 2;

using Phase = HttpClient::Phase;

// Threads that make answers.
class Makers {
 public:
  Makers() {
    for (int i = 0; i < kMakers; ++i) threads_.emplace_back([this] { Loop(); });
  }
  ~Makers() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  bool full() const {
    std::lock_guard lock(mutex_);
    return jobs_.size() >= kMostMaking;
  }
  void Add(std::function<void()> job) {
    {
      std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    work_.notify_one();
  }

 private:
  void Loop() {
    std::unique_lock lock(mutex_);
    while (true) {
      work_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
      if (stop_) return;
      const std::function<void()> job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      lock.lock();
    }
  }

  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::deque<std::function<void()>> jobs_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

// One thread waits for all clients; a few make answers.
class HttpServer::Clients {
 public:
  Clients(std::vector<ListeningSocket> sockets, Options options) : options_(std::move(options)) {
    if (options_.tls) tls_.emplace(*options_.tls);
    makers_.emplace();
    thread_ = std::thread([this] { Loop(); });
    const int most = static_cast<int>(2 * kMostClients);
    acceptor_ = std::make_unique<Acceptor>(
        std::move(sockets),
        Acceptor::Options{.port = "http",
                          .limits = {.all = most, .per_address = most},
                          .metrics = options_.figures,
                          .take = [mailbox = mailbox_](int connection) {
                            mailbox->Post({.kind = HttpMailbox::Letter::Kind::kArrival,
                                           .socket = Descriptor(connection)});
                          }});
  }
  ~Clients() {
    acceptor_.reset();
    mailbox_->Close();
    thread_.join();
    makers_.reset();
  }

 private:
  void Loop() {
    // TLS writes to sockets whose client may have left.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    std::vector<pollfd> waits;
    while (!mailbox_->closed()) {
      waits = {{.fd = mailbox_->wake(), .events = POLLIN}};
      for (const auto& client : clients_)
        waits.push_back({.fd = client->socket(), .events = client->events(MostWaiting())});
      // Deadlines are looked at a few times a second.
      ::poll(waits.data(), waits.size(), clients_.empty() ? -1 : 200);
      const MonotonicTime now = Clock::System().Monotonic();
      size_t i = 0;
      for (auto client = clients_.begin(); client != clients_.end();) {
        const bool stirs = waits[++i].revents != 0;
        const bool stays = (!stirs || GoOn(**client, now)) && now < (*client)->deadline;
        client = stays ? std::next(client) : Remove(client);
      }
      if (waits[0].revents != 0) ReadMail(now);
    }
    by_number_.clear();
    clients_.clear();
  }

  void ReadMail(MonotonicTime now) {
    for (HttpMailbox::Letter& letter : mailbox_->Take()) {
      using Kind = HttpMailbox::Letter::Kind;
      if (letter.kind == Kind::kArrival) {
        if (clients_.size() >= kMostClients) EndOldest();
        clients_.push_back(std::make_unique<HttpClient>(std::move(letter.socket), ++last_));
        clients_.back()->deadline = now + options_.patience;
        by_number_[last_] = std::prev(clients_.end());
        continue;
      }
      const auto found = by_number_.find(letter.client);
      if (found == by_number_.end()) {
        if (letter.done) letter.done(false);
        continue;
      }
      HttpClient& client = **found->second;
      if (!letter.bytes.empty()) client.Put(std::move(letter.bytes), std::move(letter.done));
      if (letter.kind == Kind::kAnswer) {
        client.phase = Phase::kAnswer;
        client.keep_alive = letter.keep_alive;
        client.reply.reset();
      } else {
        if (client.phase != Phase::kStream) ++streams_;
        client.phase = Phase::kStream;
        client.ending |= letter.kind == Kind::kEnd;
      }
      client.moved = true;
      if (!GoOn(client, now)) Remove(found->second);
    }
  }

  using Place = std::list<std::unique_ptr<HttpClient>>::iterator;

  Place Remove(Place client) {
    if ((*client)->phase == Phase::kStream) --streams_;
    by_number_.erase((*client)->number());
    return clients_.erase(client);
  }

  // Those that ask for nothing go first, streams last.
  void EndOldest() {
    for (const auto& may_go : {+[](const HttpClient& one) { return one.idle(); },
                               +[](const HttpClient& one) { return one.phase == Phase::kRequest; },
                               +[](const HttpClient& one) { return one.phase != Phase::kStream; },
                               +[](const HttpClient&) { return true; }}) {
      const auto found = std::find_if(clients_.begin(), clients_.end(),
                                      [&](const auto& one) { return may_go(*one); });
      if (found == clients_.end()) continue;
      Remove(found);
      return;
    }
  }

  size_t MostWaiting() const { return limits_.head + limits_.body; }

  // False: done with it.
  bool GoOn(HttpClient& client, MonotonicTime now) {
    if (!client.Move(tls_ ? &*tls_ : nullptr, MostWaiting())) return false;
    while (true) {
      switch (client.phase) {
        case Phase::kRequest:
          if (!ReadRequest(client, now)) return false;
          if (client.phase == Phase::kRequest) return true;
          break;
        case Phase::kMaking:
          return true;
        case Phase::kAnswer:
          if (!client.all_gone()) return Wait(client, now, options_.patience);
          if (!client.keep_alive) return false;
          client.phase = Phase::kRequest;
          client.told_to_go_on = false;
          client.deadline = now + options_.idle_limit;
          break;
        case Phase::kStream:
          client.in.clear();
          if (client.all_gone() && client.ending) return false;
          if (!client.all_gone()) return Wait(client, now, kStreamPatience);
          client.deadline = MonotonicTime::max();
          return true;
      }
    }
  }

  // For the client to take more of what is to go.
  static bool Wait(HttpClient& client, MonotonicTime now, std::chrono::milliseconds patience) {
    if (client.moved) client.deadline = now + patience;
    client.moved = false;
    return true;
  }

  // Takes the next request, if it is there.
  bool ReadRequest(HttpClient& client, MonotonicTime now) {
    // The first byte of another request: from now on it has to come.
    if (client.deadline > now + options_.patience && !client.in.empty())
      client.deadline = now + options_.patience;
    HttpParse parse = ParseHttp(client.in, limits_);
    if (parse.state == HttpParse::State::kPartial) {
      if (parse.expects && !client.told_to_go_on) {
        client.told_to_go_on = true;
        client.Put("HTTP/1.1 100 Continue\r\n\r\n", nullptr);
        if (!client.Move(tls_ ? &*tls_ : nullptr, MostWaiting())) return false;
        return ReadRequest(client, now);
      }
      return client.in.size() <= limits_.head || Waiting() <= kMostWaiting;
    }
    if (parse.state == HttpParse::State::kBad) {
      client.in.clear();
      return Refuse(client, parse.refusal, "this is not a request that is understood here\n");
    }
    client.in.erase(0, parse.used);
    if (makers_->full() || (streams_ >= kMostStreams && parse.request.path.ends_with("/stream")))
      return Refuse(client, 503, "too much is asked for at the moment: try again later\n");
    client.Describe(parse.request);
    client.phase = Phase::kMaking;
    client.deadline = MonotonicTime::max();
    client.reply = std::make_shared<HttpReply>(mailbox_, client.number(), parse.request);
    makers_->Add([this, request = std::make_shared<HttpRequest>(std::move(parse.request)),
                  reply = client.reply] { Answer(std::move(*request), reply); });
    return true;
  }

  bool Refuse(HttpClient& client, int status, const std::string& text) {
    client.phase = Phase::kAnswer;
    client.keep_alive = false;
    client.moved = true;
    client.deadline = Clock::System().Monotonic() + options_.patience;
    client.Put(SerializeHttp({.status = status, .body = text}, HttpBody::kWhole, false), nullptr);
    return client.Move(tls_ ? &*tls_ : nullptr, MostWaiting());
  }

  size_t Waiting() const {
    size_t bytes = 0;
    for (const auto& client : clients_) bytes += client->in.size();
    return bytes;
  }

  // By one of the makers.
  void Answer(HttpRequest request, const std::shared_ptr<HttpReply>& reply) const {
    try {
      const bool reads = request.method == "GET" || request.method == "HEAD";
      if (request.path == "/healthz" && reads) {
        reply->Send({.body = "ok\n"});
      } else if (request.path == "/readyz" && reads) {
        const std::string why = options_.why_not_ready();
        reply->Send({.status = why.empty() ? 200 : 503,
                     .body = why.empty() ? "ready\n" : "not serving: " + why + "\n"});
      } else if (request.path == "/metrics" && reads) {
        reply->Send(
            {.type = "text/plain; version=0.0.4; charset=utf-8", .body = options_.metrics()});
      } else if (options_.pages) {
        options_.pages(std::move(request), reply);
      } else {
        reply->Send({.status = 404, .body = "there is no such page\n"});
      }
    } catch (...) {
      reply->Send({.status = 500, .body = "this cannot be read now; the log tells more\n"});
    }
  }

  const Options options_;
  const HttpLimits limits_;
  std::optional<TlsContext> tls_;
  const std::shared_ptr<HttpMailbox> mailbox_ = std::make_shared<HttpMailbox>();
  // Of the thread alone, oldest first.
  std::list<std::unique_ptr<HttpClient>> clients_;
  std::unordered_map<int64_t, Place> by_number_;
  int64_t last_ = 0;
  size_t streams_ = 0;
  std::optional<Makers> makers_;
  std::thread thread_;
  std::unique_ptr<Acceptor> acceptor_;
};

HttpServer::HttpServer(Options options) {
  std::vector<ListeningSocket> sockets = ListenOn(options.address, " for HTTP");
  address_ = sockets.front().address;
  clients_ = std::make_unique<Clients>(std::move(sockets), std::move(options));
}

HttpServer::~HttpServer() = default;

}  // namespace syncbn::coordinator
