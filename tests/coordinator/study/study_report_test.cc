// The report of a study as a browser gets it: what `syncbn study fetch` writes, for whoever may
// read the study.
#include <httplib.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "coordinator/service/http_server.h"
#include "coordinator/web/dashboard.h"
#include "study/document/html.h"
#include "study/report_head.h"
#include "study/study_report.h"
#include "tests/coordinator/study/study_fixture.h"

namespace syncbn::coordinator {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class StudyReportTest : public StudyServiceTest {
 protected:
  StudyReportTest() {
    dashboard =
        std::make_unique<Dashboard>(Dashboard::Options{.channel = server->InProcessChannel(),
                                                       .authenticator = &authenticator,
                                                       .allow_local = true,
                                                       .version = "7.8"});
    http = std::make_unique<HttpServer>(HttpServer::Options{
        .address = "127.0.0.1:0",
        .why_not_ready = [] { return ""; },
        .metrics = [] { return ""; },
        .pages =
            [this](const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
              dashboard->Answer(request, reply);
            }});
    client = std::make_unique<httplib::Client>("http://" + http->address());
    client->set_read_timeout(120);
  }
  ~StudyReportTest() override {
    http.reset();
    dashboard.reset();
  }

  // Status and body.
  std::string AskFor(const std::string& body, const httplib::Headers& headers = {}) {
    const auto result = client->Post("/api/v1/report", headers, body, "application/json");
    return result ? std::to_string(result->status) + " " + result->body : "no answer";
  }
  std::string Address(const std::string& study, const std::string& file) {
    const std::string answer = AskFor(R"({"name": ")" + study + "\"}");
    EXPECT_THAT(answer, StartsWith("200 "));
    return answer.starts_with("200 ") ? json::parse(answer.substr(4))[file].get<std::string>()
                                      : "/";
  }
  std::string Body(const std::string& address) {
    const auto result = client->Get(address);
    EXPECT_TRUE(result);
    EXPECT_EQ(result->status, 200) << result->body;
    return result->body;
  }
  // How often reports were begun: whoever only asks for one calls another method.
  int Begun() const {
    const std::string text = metrics.Text();
    int begun = 0;
    std::smatch match;
    const std::regex calls(R"(\n\w+\{[^}]*GetStudy"[^}]*\} (\d+))");
    for (auto from = text.begin(); std::regex_search(from, text.end(), match, calls);
         from = match[0].second)
      begun += match[0].str().find("seconds") == std::string::npos ? std::stoi(match[1]) : 0;
    return begun;
  }
  void AddLine(const std::string& name, const std::string& trial, const std::string& line) {
    store.Write([&](Tables& tables) {
      tables.studies.AddResult(ParseStudyName(name), {.trial = trial, .line = line});
    });
  }
  // As `syncbn study fetch` makes it.
  study::StudyReport ReportOf(const std::string& name) {
    const study::Plan plan(study::testing::Parse(GetStudy(name).study_file()));
    return study::MakeStudyReport(plan, ParseResults(ResultsOf(name)), {},
                                  study::WrittenLine(Clock::System().Now(), "7.8"));
  }

  std::unique_ptr<Dashboard> dashboard;
  std::unique_ptr<HttpServer> http;
  std::unique_ptr<httplib::Client> client;
};

TEST_F(StudyReportTest, IsThatOfTheResultsSoFarAndOfAllAtTheEnd) {
  leave = 4;
  const std::string name = Create(SmallRequest());
  EXPECT_THAT(Body(Address(name, "page")), HasSubstr("Not complete: "))
      << "also before a trial ends";
  WaitUntil("four trials have ended", [&] { return GetStudy(name).progress().done() == 4; });
  // One that took long to make stands for a while.
  const study::StudyReport some = ReportOf(name);
  WaitUntil("the report has four",
            [&] { return Body(Address(name, "page")) == study::document::Html(some.document); });
  EXPECT_THAT(Body(Address(name, "page")), HasSubstr("4 of at least 9 trials have ended"));
  leave = 100;
  WaitForStudy(name, v1::Study::SUCCEEDED);
  const study::StudyReport whole = ReportOf(name);
  WaitUntil("the report has all results",
            [&] { return Body(Address(name, "page")) == study::document::Html(whole.document); });
  EXPECT_EQ(Body(Address(name, "trials")), whole.trials_csv);
  EXPECT_EQ(Body(Address(name, "timings")), whole.timings_csv);
  EXPECT_THAT(Body(Address(name, "markdown")), AllOf(StartsWith("# "), HasSubstr("by syncbn 7.8")));
}

TEST_F(StudyReportTest, ItsPageMayUseItsOwnScriptAndStyleAndNothingElse) {
  const std::string name = Create(SmallRequest());
  WaitForStudy(name, v1::Study::SUCCEEDED);
  const auto page = client->Get(Address(name, "page"));
  const std::string policy = page->get_header_value("Content-Security-Policy");
  EXPECT_THAT(policy, AllOf(HasSubstr("default-src 'none'"), HasSubstr("sandbox allow-scripts"),
                            HasSubstr("frame-ancestors 'self'"), HasSubstr("script-src 'sha256-"),
                            HasSubstr("style-src 'sha256-"), Not(HasSubstr("unsafe")),
                            Not(HasSubstr("same-origin"))));
  EXPECT_EQ(page->get_header_value_count("Content-Security-Policy"), 1u);
  EXPECT_FALSE(page->has_header("X-Frame-Options")) << "it stands in a frame";
  EXPECT_EQ(page->get_header_value("Cache-Control"), "no-store");
  EXPECT_FALSE(std::regex_search(page->body, std::regex("\\son[a-z]+=|\\sstyle=")))
      << "the policy lets no element have a style or a script of its own";
  for (const char* file : {"markdown", "trials", "timings"}) {
    const auto download = client->Get(Address(name, file));
    EXPECT_THAT(download->get_header_value("Content-Disposition"),
                StartsWith("attachment; filename=\"studies-1-"))
        << file;
    EXPECT_EQ(download->get_header_value("X-Content-Type-Options"), "nosniff") << file;
  }
}

TEST_F(StudyReportTest, WhatOthersCalledAStudyStaysText) {
  v1::CreateStudyRequest request =
      SmallRequest("question: \"</script></style><img src=x onerror=alert(1)> & <b>\\e[31m\"\n");
  const std::string name = Create(request);
  const std::string page = Body(Address(name, "page"));
  EXPECT_THAT(
      page, AllOf(HasSubstr("&lt;/script&gt;"), Not(HasSubstr("<img")), Not(HasSubstr("<b>\x1b"))));
  EXPECT_EQ(page.find("</script>"), page.rfind("</script>"));
}

TEST_F(StudyReportTest, OnlyWhoMayReadTheStudyHasItAndItsAddressCannotBeGuessed) {
  const std::string name = Create(SmallRequest());
  WaitForStudy(name, v1::Study::SUCCEEDED);
  const std::string page = Address(name, "page");
  EXPECT_NE(page, Address(name, "page")) << "an address of its own for each who asks";
  EXPECT_EQ(client->Get("/reports/" + std::string(64, '0') + "/report.html")->status, 404);
  EXPECT_EQ(client->Get(page.substr(0, page.rfind('/')))->status, 404);
  EXPECT_EQ(client->Get(page.substr(0, page.rfind('/')) + "/other")->status, 404);
  EXPECT_EQ(client->Get("/reports/")->status, 404);
  const std::string body = R"({"name": "studies/1"})";
  const std::string root = authenticator.Create("root", Role::kAdmin, std::nullopt);
  const std::string viewer = authenticator.Create("vera", Role::kViewer, std::nullopt);
  EXPECT_THAT(AskFor(body), StartsWith("401 "));
  EXPECT_THAT(AskFor(std::string(100'000, '[')), StartsWith("401 ")) << "before it is parsed";
  EXPECT_THAT(AskFor(body, {{"Authorization", "Bearer wrong"}}), StartsWith("401 "));
  EXPECT_THAT(AskFor(body, {{"Authorization", "Bearer " + viewer}}), StartsWith("200 "));
  EXPECT_THAT(AskFor(R"({"name": "studies/9"})", {{"Authorization", "Bearer " + viewer}}),
              AllOf(StartsWith("404 "), HasSubstr("STUDY_NOT_FOUND")));
  for (const char* wrong : {"{}", "[]", "{", R"({"name": 3})", R"({"name": "studies/../1"})"})
    EXPECT_THAT(AskFor(wrong, {{"Authorization", "Bearer " + viewer}}), StartsWith("400 "))
        << wrong;
  EXPECT_THAT(
      AskFor(body, {{"Authorization", "Bearer " + viewer}, {"Origin", "https://evil.example"}}),
      StartsWith("403 "));
}

TEST_F(StudyReportTest, ManyWhoAskAtOnceHaveTheSameOneAndOthersAreServedMeanwhile) {
  const std::string name = Create(SmallRequest());
  WaitForStudy(name, v1::Study::SUCCEEDED);
  std::atomic<int> good = 0;
  std::vector<std::thread> askers;
  for (int i = 0; i < 12; ++i) {
    askers.emplace_back([&] {
      httplib::Client own("http://" + http->address());
      own.set_read_timeout(120);
      const auto answer =
          own.Post("/api/v1/report", R"({"name": "studies/1"})", "application/json");
      good += answer && answer->status == 200;
    });
  }
  for (std::thread& asker : askers) asker.join();
  EXPECT_EQ(good, 12);
}

TEST_F(StudyReportTest,
       WhatCannotBeMadeIsTriedAgainWhenThereAreOtherResultsNotWheneverSomebodyAsks) {
  const std::string name = Create(SmallRequest());
  WaitForStudy(name, v1::Study::SUCCEEDED);
  const std::string body = R"({"name": "studies/1"})";
  AddLine(name, "x", "{damaged\n");
  const int before = Begun();
  ASSERT_GT(before, 0);
  const std::string failure = AskFor(body);
  EXPECT_THAT(failure, AllOf(StartsWith("500 "), HasSubstr("DATA_LOSS"), HasSubstr("studies/1")));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(AskFor(body), failure);
  EXPECT_EQ(Begun() - before, 1);
  AddLine(name, "y", "{damaged, too\n");
  WaitUntil("it is tried again", [&] { return AskFor(body) == failure && Begun() - before == 2; });
  EXPECT_EQ(AskFor(body), failure);
  EXPECT_EQ(Begun() - before, 2);
}

TEST_F(StudyReportTest, ResultsThatAreTooManyAreReadOnce) {
  const std::string name = Create(SmallRequest());
  WaitForStudy(name, v1::Study::SUCCEEDED);
  dashboard = std::make_unique<Dashboard>(Dashboard::Options{.channel = server->InProcessChannel(),
                                                             .authenticator = &authenticator,
                                                             .allow_local = true,
                                                             .most_result_bytes = 100});
  const std::string body = R"({"name": "studies/1"})";
  const int before = Begun();
  const std::string failure = AskFor(body);
  EXPECT_THAT(failure, HasSubstr("too many for a report here: syncbn study fetch studies/1"));
  AddLine(name, "x", "{}\n");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(AskFor(body), failure);
  EXPECT_EQ(Begun() - before, 1);
}

TEST_F(StudyReportTest, IsGivenUpWhenNobodyIsThereToHaveIt) {
  const std::string name = Create(SmallRequest());
  WaitForStudy(name, v1::Study::SUCCEEDED);
  const study::Plan plan(study::testing::Parse(GetStudy(name).study_file()));
  const auto results = ParseResults(ResultsOf(name));
  std::stop_source stop;
  EXPECT_NO_THROW(study::MakeStudyReport(plan, results, {}, "", stop.get_token()));
  stop.request_stop();
  try {
    study::MakeStudyReport(plan, results, {}, "", stop.get_token());
    FAIL() << "it was made";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  }
}

TEST(ReportShelf, KeepsFewAndForgetsAddressesAfterAMinute) {
  ManualClock clock;
  ReportShelf shelf({.most_reports = 2, .most_bytes = 100, .most_addresses = 3, .clock = &clock});
  const auto put = [&](const std::string& study, size_t size) {
    auto report =
        std::make_shared<MadeReport>(MadeReport{.study = study, .html = std::string(size, 'x')});
    shelf.Put(report);
    return report;
  };
  const auto first = put("studies/1", 10);
  put("studies/2", 10);
  EXPECT_NE(shelf.Find("studies/1"), nullptr);
  put("studies/3", 10);
  EXPECT_EQ(shelf.Find("studies/2"), nullptr) << "the one that nobody has asked for longest";
  put("studies/4", 95);
  EXPECT_EQ(shelf.Find("studies/1"), nullptr);
  EXPECT_EQ(shelf.Find("studies/3"), nullptr) << "together they are too large";
  EXPECT_NE(shelf.Find("studies/4"), nullptr);

  put("studies/4", 50);
  const std::string address = shelf.NewAddress(first) + "/report.html";
  EXPECT_EQ(shelf.Answer(address).body, "xxxxxxxxxx") << "also when another has taken its place";
  clock.Advance(std::chrono::seconds(59));
  EXPECT_EQ(shelf.Answer(address).status, 200);
  clock.Advance(std::chrono::seconds(2));
  EXPECT_EQ(shelf.Answer(address).status, 404);
  std::vector<std::string> addresses;
  for (int i = 0; i < 4; ++i) addresses.push_back(shelf.NewAddress(first) + "/report.html");
  EXPECT_EQ(shelf.Answer(addresses[0]).status, 404);
  for (int i = 1; i < 4; ++i)
    EXPECT_EQ(shelf.Answer(addresses[static_cast<size_t>(i)]).status, 200);
}

TEST(ReportShelf, AddressesDoNotKeepMoreThanThereMayBe) {
  ManualClock clock;
  ReportShelf shelf({.most_reports = 4, .most_bytes = 100, .most_addresses = 256, .clock = &clock});
  std::vector<std::string> addresses;
  std::vector<std::weak_ptr<const MadeReport>> versions;
  // A study that goes on, and somebody who looks at every version of its report.
  for (int i = 0; i < 20; ++i) {
    auto report = std::make_shared<MadeReport>(
        MadeReport{.study = "studies/1", .html = std::string(30, 'x')});
    shelf.Put(report);
    versions.push_back(report);
    addresses.push_back(shelf.NewAddress(std::move(report)) + "/report.html");
  }
  const auto alive =
      std::ranges::count_if(versions, [](const auto& one) { return !one.expired(); });
  EXPECT_EQ(alive, 3) << "of 30 bytes each";
  for (size_t i = 0; i < addresses.size(); ++i)
    EXPECT_EQ(shelf.Answer(addresses[i]).status, i < 17 ? 404 : 200) << i;
  EXPECT_NE(shelf.Find("studies/1"), nullptr);
  // Of what nobody looks at any more nothing is kept but the newest.
  clock.Advance(std::chrono::seconds(61));
  auto other = std::make_shared<MadeReport>(MadeReport{.study = "studies/2"});
  shelf.Put(other);
  EXPECT_TRUE(versions[18].expired());
  EXPECT_FALSE(versions[19].expired());
}

}  // namespace
}  // namespace syncbn::coordinator
