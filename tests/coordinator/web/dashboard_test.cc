// The dashboard's pages and calls, as a browser, and what is no browser, asks for them.
#include "coordinator/web/dashboard.h"

#include <gmock/gmock.h>
#include <httplib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/file.h"
#include "coordinator/service/http_server.h"
#include "coordinator/service/method_table.h"
#include "tests/coordinator/service/server_fixture.h"
#include "tests/support/process.h"

namespace syncbn::coordinator {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class DashboardTest : public ServerTest {
 protected:
  void StartAll(Dashboard::Options options = {.allow_local = true}) {
    if (server.server == nullptr) Start();
    options.channel = server.server->InProcessChannel();
    options.authenticator = &server.authenticator;
    http.reset();
    dashboard = std::make_unique<Dashboard>(options);
    http = std::make_unique<HttpServer>(HttpServer::Options{
        .address = "127.0.0.1:0",
        .why_not_ready = [] { return ""; },
        .metrics = [] { return ""; },
        .pages =
            [this](const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
              dashboard->Answer(request, reply);
            },
        .tls = server.options.tls});
    client = std::make_unique<httplib::Client>("http://" + http->address());
    client->set_read_timeout(60);
  }
  ~DashboardTest() override {
    http.reset();
    dashboard.reset();
  }

  // Status and body of a call.
  std::string Call(const std::string& method, const std::string& body,
                   const httplib::Headers& headers = {},
                   const char* type = "application/json") const {
    const auto result = client->Post("/api/v1/" + method, headers, body, type);
    return result ? std::to_string(result->status) + " " + result->body : "no answer";
  }
  httplib::Headers Bearer(const std::string& secret) const {
    return {{"Authorization", "Bearer " + secret}};
  }

  std::unique_ptr<Dashboard> dashboard;
  std::unique_ptr<HttpServer> http;
  std::unique_ptr<httplib::Client> client;
};

TEST_F(DashboardTest, ACallHasTheAnswerOfTheApiAsJson) {
  StartAll();
  AddJob(server.store);
  const std::string answer = Call("JobService/GetJob", R"({"name": "jobs/1"})");
  EXPECT_THAT(answer, StartsWith("200 {"));
  EXPECT_EQ(json::parse(answer.substr(4))["name"], "jobs/1");
  EXPECT_THAT(Call("JobService/GetJob", R"({"name": "jobs/7"})"),
              AllOf(StartsWith("404 "), HasSubstr("\"reason\":\"JOB_NOT_FOUND\"")));
  EXPECT_THAT(Call("JobService/GetJob", R"({"nam": "jobs/7"})"),
              AllOf(StartsWith("400 "), HasSubstr("MESSAGE_INVALID")));
  EXPECT_THAT(Call("JobService/GetJob", "{"), StartsWith("400 "));
  // Every fault of a run file, however many there are.
  const std::string faults = Call("JobService/GetJob", R"({"name": "100 faults"})");
  EXPECT_EQ(json::parse(faults.substr(4))["errors"].size(), 100u);
}

TEST_F(DashboardTest, OnlyMethodsOfUsersCanBeCalled) {
  StartAll();
  for (const char* method : {"WorkerService/Heartbeat", "JobService/WatchJobs",
                             "JobService/Nothing", "../JobService/GetJob", "", "JobService"}) {
    EXPECT_THAT(Call(method, "{}"), StartsWith("404 ")) << method;
  }
}

TEST_F(DashboardTest, RolesAndTokensAreThoseOfTheApi) {
  StartAll();
  const std::string root = server.authenticator.Create("root", Role::kAdmin, std::nullopt);
  const std::string viewer = server.authenticator.Create("vera", Role::kViewer, std::nullopt);
  AddJob(server.store);
  EXPECT_THAT(Call("JobService/GetJob", R"({"name": "jobs/1"})"), StartsWith("401 "));
  EXPECT_THAT(Call("JobService/GetJob", R"({"name": "jobs/1"})", Bearer("wrong")),
              StartsWith("401 "));
  EXPECT_THAT(Call("JobService/GetJob", R"({"name": "jobs/1"})", Bearer(viewer)),
              StartsWith("200 "));
  EXPECT_THAT(Call("JobService/CancelJob", R"({"name": "jobs/1"})", Bearer(viewer)),
              AllOf(StartsWith("403 "), HasSubstr("ROLE_TOO_LOW")));
  EXPECT_THAT(Call("JobService/CancelJob", R"({"name": "jobs/1"})", Bearer(root)),
              StartsWith("200 "));
  // Whoever did it is known by name and by where from, not as the process itself.
  const std::vector<AuditRecord> audit = Audit();
  EXPECT_EQ(audit.front().actor, "root");
  EXPECT_THAT(audit.front().peer, StartsWith("ipv4:127.0.0.1:"));
}

TEST_F(DashboardTest, WhoSpeaksToTheApiFromOutsideCannotSayWhereItComesFrom) {
  Start();
  server.authenticator.Create("root", Role::kAdmin, std::nullopt);
  Context context("wrong");
  context.AddMetadata("syncbn-peer", "ipv4:1.2.3.4:5");
  v1::GetJobRequest request;
  v1::Job job;
  EXPECT_THAT(Say(jobs->GetJob(&context, request, &job)), StartsWith("UNAUTHENTICATED"));
  EXPECT_THAT(Audit().front().peer, StartsWith("ipv4:127.0.0.1:"));
}

// Copied or written, a value of this depth would end the whole coordinator.
TEST_F(DashboardTest, NoBodyIsTakenThatNestsTooDeeply) {
  StartAll();
  const std::string root = server.authenticator.Create("root", Role::kAdmin, std::nullopt);
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  const std::string stream =
      R"({"streams": [{"id": "a", "method": "MetricsService/WatchMetrics", "request": )";
  for (const std::string& request : {deep, std::string(100'000, '['), "{\"x\": " + deep + "}"}) {
    EXPECT_THAT(
        Call("stream", stream + request + "}]}", Bearer(root)),
        AllOf(StartsWith("400 "), HasSubstr("nested too deeply"), HasSubstr("MESSAGE_INVALID")));
  }
  int methods = 0;
  for (const MethodRule& rule : MethodRules()) {
    // Of services that this test has not got it knows no messages.
    if (rule.stream ||
        (!rule.method.starts_with("JobService/") && !rule.method.starts_with("AdminService/")))
      continue;
    ++methods;
    for (const std::string& body : {deep, "{\"name\": " + deep + "}"}) {
      EXPECT_THAT(Call(std::string(rule.method), body, Bearer(root)),
                  AllOf(StartsWith("400 "), HasSubstr("nested too deeply")))
          << rule.method;
    }
  }
  EXPECT_GT(methods, 12);
  EXPECT_THAT(Call("report", deep, Bearer(root)), StartsWith("400 "));
  AddJob(server.store);
  EXPECT_THAT(Call("JobService/GetJob", R"({"name": "jobs/1"})", Bearer(root)), StartsWith("200 "));
}

// Nothing that a stranger sends is looked at, and that they have come is in the records.
TEST_F(DashboardTest, TheTokenIsAskedForBeforeTheBody) {
  StartAll();
  server.authenticator.Create("root", Role::kAdmin, std::nullopt);
  const std::string deep(100'000, '[');
  for (const std::string& body : {deep, std::string("no JSON"), std::string("{}")}) {
    for (const char* path : {"stream", "JobService/GetJob", "JobService/CancelJob"}) {
      EXPECT_THAT(Call(path, body, Bearer("wrong")),
                  AllOf(StartsWith("401 "), HasSubstr("this token is not known here")))
          << path;
      EXPECT_THAT(Call(path, body), AllOf(StartsWith("401 "), HasSubstr("none has come"))) << path;
    }
  }
  const std::vector<AuditRecord> audit = Audit();
  EXPECT_EQ(audit.size(), 18u);
  EXPECT_EQ(std::ranges::count(audit, "JobService/CancelJob", &AuditRecord::method), 6);
  EXPECT_THAT(audit.front().peer, StartsWith("ipv4:127.0.0.1:"));
}

// Where there are no tokens whoever can reach the port is an admin: so nobody may make a browser
// here ask for them.
TEST_F(DashboardTest, WithoutTokensNoOtherSiteCallsThroughABrowser) {
  StartAll();
  AddJob(server.store);
  const std::string body = R"({"name": "jobs/1"})";
  const std::string own = "http://" + http->address();
  EXPECT_THAT(
      Call("JobService/CancelJob", body, {{"Origin", own}, {"Sec-Fetch-Site", "same-origin"}}),
      StartsWith("200 "));
  const std::vector<httplib::Headers> foreign = {
      {{"Origin", "https://evil.example"}},
      {{"Origin", "null"}},
      {{"Origin", "http://127.0.0.1:1"}},
      {{"Sec-Fetch-Site", "cross-site"}},
      {{"Sec-Fetch-Site", "same-site"}},
      // A name of theirs that leads here by now.
      {{"Host", "evil.example:7701"}, {"Origin", "http://evil.example:7701"}},
      {{"Host", "127.0.0.1.evil.example"}},
      {{"X-Forwarded-For", "10.0.0.7"}},
      {{"Via", "1.1 proxy"}},
  };
  for (const httplib::Headers& headers : foreign) {
    const std::string answer = Call("JobService/CancelJob", body, headers);
    EXPECT_THAT(answer, testing::AnyOf(StartsWith("403 "), StartsWith("401 ")))
        << headers.begin()->first << ": " << headers.begin()->second;
  }
  // What a form, or a picture, can send.
  for (const char* type :
       {"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})
    EXPECT_THAT(Call("JobService/CancelJob", body, {}, type), StartsWith("403 ")) << type;
  const auto got = client->Get("/api/v1/JobService/GetJob");
  EXPECT_EQ(got->status, 403);
  // Nobody is told that others may ask.
  const auto asked = client->Options("/api/v1/JobService/GetJob");
  EXPECT_FALSE(asked->has_header("Access-Control-Allow-Origin"));
}

TEST_F(DashboardTest, WhereTheApiIsNotForEverybodyHereATokenIsAskedFor) {
  StartAll({.allow_local = false});
  EXPECT_THAT(Call("JobService/GetJob", "{}"), StartsWith("401 "));
}

TEST_F(DashboardTest, WhereTokensWouldTravelInTheOpenThereIsNone) {
  StartAll({.why_closed = "no TLS", .allow_local = true});
  EXPECT_EQ(client->Get("/jobs")->status, 403);
  EXPECT_THAT(Call("JobService/GetJob", "{}"), AllOf(StartsWith("403 "), HasSubstr("no TLS")));
  EXPECT_EQ(client->Get("/healthz")->status, 200);
}

TEST_F(DashboardTest, StreamsComeAsEventsAndEnd) {
  StartAll();
  AddJob(server.store);
  const std::string body =
      R"({"streams": [{"id": "jobs", "method": "JobService/WatchJobs", "request": {"job": "jobs/1"}},
                      {"id": "gone", "method": "JobService/WatchJobs", "request": {"job": "jobs/9"}}]})";
  std::string heard;
  httplib::Request request;
  request.method = "POST";
  request.path = "/api/v1/stream";
  request.headers = {{"Content-Type", "application/json"}};
  request.body = body;
  request.content_receiver = [&](const char* data, size_t size, uint64_t, uint64_t) {
    heard.append(data, size);
    // Until both have said something.
    return heard.find("event: gone\n") == std::string::npos ||
           heard.find("\"snapshot_end\"") == std::string::npos;
  };
  client->send(request);
  EXPECT_THAT(heard,
              HasSubstr("event: jobs\ndata: {\"message\":{\"snapshot\":{\"name\":\"jobs/1\""));
  EXPECT_THAT(heard, HasSubstr("event: gone\ndata: {\"end\":{"));
  EXPECT_THAT(heard, HasSubstr("\"reason\":\"JOB_NOT_FOUND\""));
  // The client has left: its streams end.
  const auto end = std::chrono::steady_clock::now() + 60s;
  while (server.pool->size() > 0 && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(10ms);
  EXPECT_EQ(server.pool->size(), 0);
  for (const char* wrong :
       {"{}", "[]", R"({"streams": []})",
        R"({"streams": [{"id": "A b", "method": "JobService/WatchJobs"}]})",
        R"({"streams": [{"id": "a", "method": "JobService/GetJob"}]})",
        R"({"streams": [{"id": "a\nevent: b", "method": "JobService/WatchJobs"}]})"}) {
    EXPECT_THAT(Call("stream", wrong), StartsWith("4")) << wrong;
  }
}

TEST_F(DashboardTest, PagesForbidEveryScriptButTheirOwnFiles) {
  StartAll();
  for (const char* path : {"/", "/jobs", "/jobs/17/log", "/compare", "/studies/3", "/hosts"}) {
    const auto page = client->Get(path);
    ASSERT_TRUE(page) << path;
    EXPECT_EQ(page->status, 200) << path;
    const std::string policy = page->get_header_value("Content-Security-Policy");
    EXPECT_THAT(policy, AllOf(HasSubstr("default-src 'none'"), HasSubstr("script-src 'self';"),
                              HasSubstr("frame-ancestors 'none'"),
                              HasSubstr("require-trusted-types-for"), Not(HasSubstr("unsafe"))));
    EXPECT_EQ(page->get_header_value("X-Content-Type-Options"), "nosniff");
    EXPECT_FALSE(page->has_header("Set-Cookie"));
    EXPECT_FALSE(
        std::regex_search(page->body, std::regex("<script>|\\son[a-z]+=|style=|javascript:")));
  }
  for (const char* path :
       {"/nothing", "/assets/0/main.js", "/jobsx", "/..%2f", "/assets/../jobs.js"})
    EXPECT_EQ(client->Get(path)->status, 404) << path;
  // Who has come to an address that is none sees the dashboard, which says so; other programs a
  // line.
  const httplib::Headers browser = {{"Accept", "text/html,application/xhtml+xml,*/*;q=0.8"}};
  const auto lost = client->Get("/zzz", browser);
  EXPECT_EQ(lost->status, 404);
  EXPECT_EQ(lost->get_header_value("Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(lost->body, client->Get("/jobs", browser)->body);
  EXPECT_THAT(lost->get_header_value("Content-Security-Policy"),
              HasSubstr("frame-ancestors 'none'"));
  EXPECT_EQ(client->Get("/zzz")->body, "there is no such page\n");
  EXPECT_THAT(client->Get("/assets/0/main.js", browser)->get_header_value("Content-Type"),
              StartsWith("text/plain"));
  EXPECT_THAT(Call("../zzz", "{}"), AllOf(StartsWith("404 {"), HasSubstr("METHOD_NOT_FOUND")));
  EXPECT_EQ(client->Post("/jobs", "", "text/plain")->status, 405);
}

TEST_F(DashboardTest, FilesAreFoundUnderANameOfTheirContentAndAskedForOnce) {
  StartAll();
  const std::string page = client->Get("/")->body;
  const std::regex link("(src|href)=\"(/assets/[0-9a-f]{16}/([a-z_.]+))\"");
  int files = 0;
  for (auto found = std::sregex_iterator(page.begin(), page.end(), link);
       found != std::sregex_iterator(); ++found, ++files) {
    const std::string path = (*found)[2];
    const auto plain = client->Get(path);
    EXPECT_EQ(plain->status, 200) << path;
    EXPECT_THAT(plain->get_header_value("Cache-Control"), HasSubstr("immutable"));
    const auto known =
        client->Get(path, httplib::Headers{{"If-None-Match", plain->get_header_value("ETag")}});
    EXPECT_EQ(known->status, 304);
    EXPECT_EQ(known->body, "");
  }
  EXPECT_GT(files, 10);
  const auto first = client->Get("/");
  EXPECT_EQ(first->get_header_value("Cache-Control"), "no-cache");
}

// Text of others becomes text: nothing of ours makes markup of it.
TEST(DashboardPages, MakeNoMarkupOfText) {
  const std::regex markup(
      R"(\.innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|createContextualFragment|srcdoc|\.style\b|setAttribute\('style)");
  int files = 0;
  for (const auto& file : std::filesystem::directory_iterator(TEST_PAGES_FOLDER)) {
    if (file.path().extension() != ".js") continue;
    ++files;
    std::smatch found;
    const std::string text = ReadFile(file.path());
    EXPECT_FALSE(std::regex_search(text, found, markup)) << file.path() << ": " << found.str();
  }
  EXPECT_GT(files, 15);
}

TEST_F(DashboardTest, WithTlsPagesAndCallsComeByItAlone) {
  const std::string crt = (server.folder.path() / "s.crt").string();
  const std::string key = (server.folder.path() / "s.key").string();
  const ProcessResult made =
      RunProcess({.argv = {"/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                           "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj",
                           "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                           "-keyout", key, "-out", crt}});
  ASSERT_EQ(made.status, 0) << made.err;
  server.options.tls = TlsFiles{.certificate = crt, .key = key};
  StartAll({.tls = true, .allow_local = true});
  AddJob(server.store);
  const auto curl = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"/usr/bin/curl", "-s", "--max-time", "30", "--cacert", crt});
    return RunProcess({.argv = more}).out;
  };
  const std::string own = "https://" + http->address();
  EXPECT_THAT(curl({own + "/jobs"}), HasSubstr("<title>syncbn</title>"));
  EXPECT_THAT(curl({"-H", "Content-Type: application/json", "-d", R"({"name": "jobs/1"})",
                    own + "/api/v1/JobService/GetJob"}),
              HasSubstr("\"name\":\"jobs/1\""));
  EXPECT_EQ(curl({own + "/healthz"}), "ok\n");
  // In the open only what tells nothing.
  EXPECT_EQ(client->Get("/healthz")->status, 200);
  const auto moved = client->Get("/jobs?filter=x");
  EXPECT_EQ(moved->status, 308);
  EXPECT_EQ(moved->get_header_value("Location"), own + "/jobs?filter=x");
  EXPECT_EQ(client->Get("/jobs", httplib::Headers{{"Host", "a/b"}})->status, 403);
  EXPECT_THAT(Call("JobService/GetJob", "{}"), AllOf(StartsWith("403 "), HasSubstr("https")));
}

}  // namespace
}  // namespace syncbn::coordinator
