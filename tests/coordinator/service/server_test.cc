// The server itself: when it serves, what it tells of itself, where it listens; HTTP, figures, the log.
#include "coordinator/service/server.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>
#include <httplib.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <thread>

#include "coordinator/service/http_server.h"
#include "tests/coordinator/service/server_fixture.h"

namespace syncbn::coordinator {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST_F(ServerTest, ServesOnlyWhenItIsTold) {
  Start(false);
  // A HealthCheckResponse with status 2, NOT_SERVING; 1 is SERVING.
  std::string health;
  EXPECT_TRUE(CallEmpty(channel, "/grpc.health.v1.Health/Check", &health).ok());
  EXPECT_EQ(health, "\x08\x02");
  EXPECT_EQ(Get("jobs/1"),
            "UNAVAILABLE NOT_SERVING: the coordinator is starting or stopping: try again in a "
            "moment");
  server.server->SetServing(true);
  EXPECT_EQ(Get("jobs/1"), "NOT_FOUND JOB_NOT_FOUND: there is no job jobs/1");
  EXPECT_TRUE(CallEmpty(channel, "/grpc.health.v1.Health/Check", &health).ok());
  EXPECT_EQ(health, "\x08\x01");
}

TEST_F(ServerTest, TellsTheShapeOfItsApi) {
  Start();
  // A ServerReflectionRequest with list_services ("*"), field 7.
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  Context context;
  auto call = stub.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  void* tag = nullptr;
  bool ok = false;
  auto wait = [&] { ASSERT_TRUE(queue.Next(&tag, &ok)); };
  call->StartCall(nullptr);
  wait();
  grpc::Slice list("\x3a\x01*");
  grpc::ByteBuffer request(&list, 1), answer;
  call->WriteLast(request, {}, nullptr);
  wait();
  call->Read(&answer, nullptr);
  wait();
  ASSERT_TRUE(ok);
  grpc::Slice bytes;
  ASSERT_TRUE(answer.DumpToSingleSlice(&bytes).ok());
  const std::string text(bytes.begin(), bytes.end());
  for (const char* name : {"syncbn.v1.JobService", "syncbn.v1.AdminService",
                           "syncbn.v1.MetricsService", "grpc.health.v1.Health"}) {
    EXPECT_THAT(text, HasSubstr(name));
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
}

TEST_F(ServerTest, AMethodOrServiceThatItDoesNotHaveIsRefusedWithAReason) {
  Start();
  for (const char* method : {"/syncbn.v1.JobService/MakeCoffee", "/other.Service/GetJob", "/x"}) {
    EXPECT_EQ(Say(CallWith(channel, method, "bytes")),
              "UNIMPLEMENTED UNIMPLEMENTED: this coordinator has no method " + std::string(method) +
                  ": the program that asks for it is of another version, or asks the wrong server");
  }
}

TEST_F(ServerTest, AFaultOfItsOwnIsToldInTheLogAndNotToTheClient) {
  Start();
  const std::string told = Get("jobs/666");
  const std::string log = (server.folder.path() / "log").string();
  const std::string lead = "INTERNAL INTERNAL: the coordinator met a fault of its own; " + log +
                           " tells more, under fault ";
  EXPECT_THAT(told, StartsWith(lead));
  std::istringstream lines(ReadFile(log));
  std::string line;
  bool found = false;
  while (std::getline(lines, line)) {
    const auto event = nlohmann::json::parse(line);
    if (event["level"] != "error") continue;
    found = true;
    EXPECT_EQ(event["event"], "rpc.failed");
    EXPECT_EQ(event["message"], "JobService/GetJob: secret inner text");
    EXPECT_EQ(event["job"], "jobs/666");
    EXPECT_EQ(event["actor"], "local");
    EXPECT_EQ(event["code"], "INTERNAL");
    EXPECT_EQ(lead + std::string(event["fault"]), told) << "by which it is found";
  }
  EXPECT_TRUE(found);
}

TEST_F(ServerTest, RefusesToListenWhereSecretsWouldTravelInTheOpen) {
  server.options.addresses = {"127.0.0.1:0", "0.0.0.0:0"};
  EXPECT_EQ(ErrorOf([&] { Start(); }),
            "FAILED_PRECONDITION: refusing to listen on 0.0.0.0:0 without TLS: tokens would travel in "
            "the open. Give --tls-cert and --tls-key, listen on 127.0.0.1, or, in a network that you "
            "trust, --allow-plaintext");
  server.options.allow_plaintext = true;
  EXPECT_EQ(ErrorOf([&] { Start(); }),
            "FAILED_PRECONDITION: refusing to listen on 0.0.0.0:0 without tokens: nobody could be "
            "told from anybody. Start with --admin-token-file FILE, which writes an admin's token "
            "there");
  const std::string root = server.authenticator.Create("root", Role::kAdmin, std::nullopt);
  Start();
  EXPECT_EQ(server.server->addresses().size(), 2u);
  EXPECT_THAT(Get("jobs/1", root), HasSubstr("JOB_NOT_FOUND"));
}

TEST_F(ServerTest, SaysWhichAddressItCannotHave) {
  Start();
  const std::string taken = server.server->addresses().front();
  TestServer second;
  second.options.addresses = {taken};
  EXPECT_EQ(ErrorOf([&] { second.Start(); }),
            "UNAVAILABLE: cannot listen on " + taken +
                ": another process listens there; choose another port, or port 0 for a free one");
  second.options.addresses = {"127.0.0.1:0", taken};
  EXPECT_THAT(ErrorOf([&] { second.Start(); }),
              StartsWith("UNAVAILABLE: cannot listen on " + taken + ": "))
      << "not the first one";
  // Of TEST-NET-1, which no machine has.
  second.options.allow_plaintext = true;
  second.authenticator.Create("root", Role::kAdmin, std::nullopt);
  second.options.addresses = {"192.0.2.1:0"};
  EXPECT_EQ(ErrorOf([&] { second.Start(); }),
            "UNAVAILABLE: cannot listen on 192.0.2.1:0: it is not an address of this machine");
  second.options.addresses = {"unix:/nope/x"};
  EXPECT_EQ(ErrorOf([&] { second.Start(); }),
            "UNAVAILABLE: cannot listen on unix:/nope/x: there is no folder /nope");
  second.options.addresses = {"unix:/tmp/" + std::string(120, 'x')};
  EXPECT_THAT(ErrorOf([&] { second.Start(); }), HasSubstr("a socket's path has 1 to 107 bytes"));
  second.options.addresses = {"localhost"};
  EXPECT_THAT(ErrorOf([&] { second.Start(); }),
              StartsWith("INVALID_ARGUMENT: 'localhost' is not an address: write HOST:PORT"));
}

TEST_F(ServerTest, HealthAndFiguresAreOnTheHttpPort) {
  Start(false);
  AddJob(server.store);
  HttpServer http({.address = "127.0.0.1:0",
                   .why_not_ready = [&] { return server.server->WhyNotReady(); },
                   .metrics = [&] { return server.metrics.Text(); }});
  httplib::Client client("http://" + http.address());
  auto get = [&](const char* path) {
    const auto result = client.Get(path);
    return result ? std::to_string(result->status) + " " + result->body : "no answer";
  };
  EXPECT_EQ(get("/healthz"), "200 ok\n");
  EXPECT_EQ(get("/readyz"), "503 not serving: it is starting or stopping\n");
  server.server->SetServing(true);
  EXPECT_EQ(get("/readyz"), "200 ready\n");
  EXPECT_THAT(get("/"), StartsWith("404"));
  EXPECT_EQ(Get("jobs/1"), "OK");
  server.metrics.CountMetricPoints(250);
  const std::string text = get("/metrics");
  EXPECT_THAT(text, HasSubstr("syncbn_jobs{state=\"QUEUED\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("syncbn_jobs{state=\"RUNNING\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("syncbn_rpc_total{code=\"OK\",method=\"JobService/GetJob\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("syncbn_metric_points_total 250\n"));
  EXPECT_THAT(text, HasSubstr("syncbn_store_commits_total "));
  EXPECT_THAT(ErrorOf([&] { HttpServer second({.address = http.address()}); }),
              StartsWith("UNAVAILABLE: cannot listen on " + http.address() + " for HTTP"));
}

TEST_F(ServerTest, TheFiguresAreTextThatPrometheusReads) {
  Start();
  Get("jobs/1");
  ServerMetrics full({.store = &server.store,
                      .cluster = [] { return ClusterFigures{.queue_length = 3, .slots = 8}; },
                      .version = "0.1"});
  full.CountCall("JobService/GetJob", "OK", false, 3ms);
  std::istringstream lines(full.Text());
  // The grammar of the text format 0.0.4.
  const std::regex sample(
      R"re([a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\["\\n])*",?)*\})? (NaN|[+-]?Inf|[-+0-9.eE]+)( -?[0-9]+)?)re");
  const std::regex comment(R"(# (HELP|TYPE) [a-zA-Z_:][a-zA-Z0-9_:]* .*)");
  std::string line;
  int samples = 0;
  while (std::getline(lines, line)) {
    if (line.starts_with('#')) {
      EXPECT_TRUE(std::regex_match(line, comment)) << line;
    } else {
      EXPECT_TRUE(std::regex_match(line, sample)) << line;
      ++samples;
    }
  }
  EXPECT_GT(samples, 30);
  EXPECT_THAT(full.Text(), HasSubstr("syncbn_queue_length 3\n"));
}

TEST(EventLog, WritesOneLineAnEventWhateverIsInIt) {
  const LogEvent event{.event = "job.placed",
                       .message = "two\nlines and \"quotes\" \xff",
                       .job = "jobs/17",
                       .attempt = 2,
                       .actor = "scheduler",
                       .fields = {{"hosts", "node1"}}};
  EXPECT_EQ(FormatAsText(event, kTestNow),
            FormatTime(kTestNow) +
                " info    job.placed: two | lines and \"quotes\" \ufffd (jobs/17 attempt 2, "
                "by scheduler, hosts=node1)");
  const std::string json = FormatAsJson(event, kTestNow);
  EXPECT_EQ(json.find('\n'), std::string::npos);
  const auto parsed = nlohmann::json::parse(json);
  EXPECT_EQ(parsed["level"], "info");
  EXPECT_EQ(parsed["job"], "jobs/17");
  EXPECT_EQ(parsed["attempt"], 2);
  EXPECT_EQ(parsed["hosts"], "node1");
  EXPECT_THAT(parsed["message"].get<std::string>(), StartsWith("two\nlines and \"quotes\" "));
}

}  // namespace
}  // namespace syncbn::coordinator
