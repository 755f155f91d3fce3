// Many, slow and silent clients on both ports: they are bounded, and keep nobody else out.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <httplib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "coordinator/service/address.h"
#include "coordinator/service/http_server.h"
#include "tests/coordinator/service/server_fixture.h"

namespace syncbn::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kServed = "NOT_FOUND JOB_NOT_FOUND: there is no job jobs/1";

// The files that this process may open, for a while.
class FileLimit {
 public:
  explicit FileLimit(rlim_t most) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit now{.rlim_cur = most, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &now);
  }
  ~FileLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

// Connections that a process of their own holds, until they are let go.
class Crowd {
 public:
  Crowd(const std::string& address, int size) {
    sockaddr_in server{};
    server.sin_family = AF_INET;
    server.sin_port = htons(static_cast<in_port_t>(SplitAddress(address).second));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int there[2], leave[2];
    if (::pipe(there) != 0 || ::pipe(leave) != 0) return;
    child_ = ::fork();
    if (child_ == 0) {
      rlimit files{};
      ::getrlimit(RLIMIT_NOFILE, &files);
      files.rlim_cur = files.rlim_max;
      ::setrlimit(RLIMIT_NOFILE, &files);
      ::close(leave[1]);
      int last = -1;
      for (int i = 0; i < size; ++i) {
        last = ::socket(AF_INET, SOCK_STREAM, 0);
        ::connect(last, reinterpret_cast<const sockaddr*>(&server), sizeof server);
      }
      // Until the server has seen them all: it says something to the last, or ends it.
      const timeval patience{.tv_sec = 20, .tv_usec = 0};
      ::setsockopt(last, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      char heard = 0;
      [[maybe_unused]] const ssize_t count = ::recv(last, &heard, 1, 0);
      char byte = 1;
      if (::write(there[1], &byte, 1) == 1 && ::read(leave[0], &byte, 1) >= 0) ::_exit(0);
      ::_exit(1);
    }
    char byte = 0;
    EXPECT_EQ(::read(there[0], &byte, 1), 1);
    for (const int one : {there[0], there[1], leave[0]}) ::close(one);
    leave_ = leave[1];
  }
  ~Crowd() { Leave(); }
  void Leave() {
    if (leave_ < 0) return;
    ::close(leave_);
    leave_ = -1;
    ::waitpid(child_, nullptr, 0);
  }

 private:
  pid_t child_ = -1;
  int leave_ = -1;
};

class DoorsTest : public ServerTest {
 protected:
  // A connection that nobody shares.
  std::shared_ptr<grpc::Channel> OwnChannel() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(server.server->addresses().front(),
                                     grpc::InsecureChannelCredentials(), arguments);
  }
  std::string AskAnew() { return Ask(OwnChannel()); }
  std::string Ask(const std::shared_ptr<grpc::Channel>& own) {
    Context context("", 60s);
    context.set_wait_for_ready(true);
    v1::GetJobRequest request;
    request.set_name("jobs/1");
    v1::Job job;
    return Say(v1::JobService::NewStub(own)->GetJob(&context, request, &job));
  }
  // Connections that were refused, or ended, for this.
  int Refused(const std::string& why) const {
    const std::string text = server.metrics.Text();
    const std::string lead = "syncbn_connections_refused_total{port=\"grpc\",why=\"" + why + "\"} ";
    const size_t at = text.find(lead);
    return at == std::string::npos ? 0 : std::stoi(text.substr(at + lead.size()));
  }
  // The server ends the connection within a minute.
  static bool IsEnded(const Descriptor& socket) {
    const timeval patience{.tv_sec = 60, .tv_usec = 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char bytes[256];
    ssize_t count = 0;
    while ((count = ::recv(socket.get(), bytes, sizeof bytes, 0)) > 0) {
    }
    return count == 0 || errno == ECONNRESET;
  }
  Descriptor Connect() const { return ConnectTo(server.server->addresses().front(), 60); }
  // The answer to a GET of the path, in status and body.
  static std::string Fetch(const HttpServer& http, const char* path) {
    httplib::Client client("http://" + http.address());
    client.set_read_timeout(60);
    const auto result = client.Get(path);
    return result ? std::to_string(result->status) + " " + result->body : "no answer";
  }
};

TEST_F(DoorsTest, AServerThatRanOutOfFilesServesWhenTheyAreThereAgain) {
  // No bound of its own is in the way.
  server.options.connections = {.all = 100'000, .per_address = 100'000};
  Start();
  EXPECT_EQ(AskAnew(), kServed);
  const FileLimit limit(200);
  Crowd crowd(server.server->addresses().front(), 400);
  crowd.Leave();
  EXPECT_EQ(AskAnew(), kServed);
  EXPECT_THAT(server.metrics.Text(),
              HasSubstr("syncbn_connections_refused_total{port=\"grpc\",why=\"files\"}"));
}

TEST_F(DoorsTest, ConnectionsOfAnAddressAreBoundedAndTheirPlacesAreGivenAgain) {
  server.options.connections = {.all = 100, .per_address = 3};
  Start();
  std::vector<std::shared_ptr<grpc::Channel>> clients;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask(clients.emplace_back(OwnChannel())), kServed);
  const Descriptor beyond = Connect();
  EXPECT_TRUE(IsEnded(beyond));
  EXPECT_EQ(Refused("address"), 1);
  for (const auto& client : clients) EXPECT_EQ(client->GetState(false), GRPC_CHANNEL_READY);
  clients.clear();
  EXPECT_EQ(AskAnew(), kServed);
}

TEST_F(DoorsTest, OneAddressHasHalfOfAllPlacesWhereNothingElseIsSaid) {
  server.options.connections = {.all = 4};
  Start();
  const auto first = OwnChannel(), second = OwnChannel();
  EXPECT_EQ(Ask(first), kServed);
  EXPECT_EQ(Ask(second), kServed);
  const Descriptor beyond = Connect();
  EXPECT_TRUE(IsEnded(beyond));
  EXPECT_EQ(Refused("address"), 1);
}

TEST_F(DoorsTest, WhoHasMadeNoCallGivesUpItsPlaceToANewClient) {
  for (const ConnectionLimits limits : {ConnectionLimits{.all = 100, .per_address = 3},
                                        ConnectionLimits{.all = 3, .per_address = 100}}) {
    for (const char* address : {"127.0.0.1:0", "[::1]:0"}) {
      server.server.reset();
      server.options.connections = limits;
      server.options.addresses = {address};
      try {
        Start();
      } catch (const Error& error) {
        if (*address == '[') continue;  // this machine has no IPv6
        throw;
      }
      const int before = Refused("silent");
      // It is the oldest, and has made one.
      const auto client = OwnChannel();
      EXPECT_EQ(Ask(client), kServed);
      std::vector<Descriptor> silent;
      for (int i = 0; i < 6; ++i) silent.push_back(Connect());
      for (int i = 0; i < 4; ++i) EXPECT_TRUE(IsEnded(silent[static_cast<size_t>(i)])) << i;
      EXPECT_EQ(Refused("silent") - before, 4);
      EXPECT_EQ(AskAnew(), kServed);
      EXPECT_EQ(client->GetState(false), GRPC_CHANNEL_READY) << address;
    }
  }
}

TEST_F(DoorsTest, ASocketInTheFileSystemIsADoorToo) {
  const std::string address = "unix:" + (server.folder.path() / "door").string();
  server.options.addresses = {address, "127.0.0.1:0"};
  Start();
  EXPECT_EQ(server.server->addresses().front(), address);
  EXPECT_EQ(AskAnew(), kServed);
  EXPECT_EQ(server.server->WhyNotReady(), "");
  TestServer second;
  second.options.addresses = {address};
  EXPECT_THAT(ErrorOf([&] { second.Start(); }), HasSubstr("UNAVAILABLE: cannot listen on " + address));
  // What a server that is gone has left there is in nobody's way.
  server.server.reset();
  second.Start();
}

TEST_F(DoorsTest, AtASocketInTheFileSystemEachUserHasPlacesOfItsOwn) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be another user, too";
  const std::filesystem::path door = server.folder.path() / "door";
  server.options.addresses = {"unix:" + door.string()};
  server.options.connections = {.all = 100, .per_address = 2};
  Start();
  std::filesystem::permissions(server.folder.path(), std::filesystem::perms::all);
  std::filesystem::permissions(door, std::filesystem::perms::all);
  const auto first = OwnChannel(), second = OwnChannel();
  EXPECT_EQ(Ask(first), kServed);
  EXPECT_EQ(Ask(second), kServed);
  EXPECT_TRUE(IsEnded(Connect()));
  EXPECT_EQ(Refused("address"), 1);
  const pid_t other = ::fork();
  if (other == 0) {
    char heard = 0;
    const bool served = ::setuid(65534) == 0 && ::recv(Connect().get(), &heard, 1, 0) == 1;
    ::_exit(served ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(other, &status, 0), other);
  EXPECT_EQ(status, 0);
}

TEST_F(DoorsTest, AConnectionThatSaysNothingIsEnded) {
  server.options.handshake_limit = 100ms;
  Start();
  const Descriptor silent = Connect();
  EXPECT_TRUE(IsEnded(silent));
}

TEST_F(DoorsTest, AServerIsReadyOnlyWhenItsPortAnswers) {
  server.options.connections = {.all = 1, .per_address = 1};
  Start(false);
  EXPECT_EQ(server.server->WhyNotReady(), "it is starting or stopping");
  server.server->SetServing(true);
  EXPECT_EQ(server.server->WhyNotReady(), "");
  // The only place is taken. What the server found out a moment ago it says for a second.
  const auto held = OwnChannel();
  EXPECT_EQ(Ask(held), kServed);
  const auto end = std::chrono::steady_clock::now() + 60s;
  while (server.server->WhyNotReady().empty() && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(50ms);
  EXPECT_EQ(server.server->WhyNotReady(),
            "a connection to " + server.server->addresses().front() + " was not answered");
}

TEST_F(DoorsTest, SlowClientsOfTheHttpPortKeepNobodyOut) {
  Start();
  HttpServer http({.address = "127.0.0.1:0",
                   .why_not_ready = [&] { return server.server->WhyNotReady(); },
                   .metrics = [&] { return server.metrics.Text(); },
                   .figures = &server.metrics});
  // More than have a place; none says more than this.
  std::vector<Descriptor> slow;
  for (int i = 0; i < 100; ++i) {
    slow.push_back(ConnectTo(http.address(), 60));
    EXPECT_EQ(::send(slow.back().get(), "GET /h", 6, MSG_NOSIGNAL), 6);
  }
  EXPECT_EQ(Fetch(http, "/healthz"), "200 ok\n");
  EXPECT_EQ(Fetch(http, "/readyz"), "200 ready\n");
  EXPECT_THAT(Fetch(http, "/metrics"), HasSubstr("syncbn_connections{port=\"http\"}"));
  EXPECT_TRUE(IsEnded(slow.front()));
}

TEST_F(DoorsTest, TimeForARequestOfTheHttpPortPassesHoweverManyBytesCome) {
  HttpServer http({.address = "127.0.0.1:0",
                   .why_not_ready = [] { return ""; },
                   .metrics = [] { return ""; },
                   .patience = 300ms});
  const Descriptor slow = ConnectTo(http.address(), 60);
  const auto end = std::chrono::steady_clock::now() + 60s;
  // A byte now and then, until nobody takes it.
  while (::send(slow.get(), "x", 1, MSG_NOSIGNAL) == 1 && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(10ms);
  EXPECT_LT(std::chrono::steady_clock::now(), end);
}

TEST_F(DoorsTest, TheHttpPortAnswersWhatIsNoRequestOrNoPage) {
  HttpServer http({.address = "127.0.0.1:0",
                   .why_not_ready = [] { return ""; },
                   .metrics = []() -> std::string { throw std::runtime_error("secret"); }});
  EXPECT_THAT(Fetch(http, "/nothing"), HasSubstr("404"));
  EXPECT_THAT(Fetch(http, "/metrics"), HasSubstr("500 this cannot be read now"));
  const Descriptor wrong = ConnectTo(http.address(), 60);
  EXPECT_GT(::send(wrong.get(), "nonsense\r\n\r\n", 12, MSG_NOSIGNAL), 0);
  EXPECT_TRUE(IsEnded(wrong));
  // Longer than any request that is meant.
  const Descriptor endless = ConnectTo(http.address(), 60);
  const std::string bytes(100'000, 'x');
  ::send(endless.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  EXPECT_TRUE(IsEnded(endless));
  EXPECT_EQ(Fetch(http, "/healthz"), "200 ok\n");
}

}  // namespace
}  // namespace syncbn::coordinator
