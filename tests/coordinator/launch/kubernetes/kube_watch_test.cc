// REST and watches with the stand-in of an API server: what a client must bear.
#include "coordinator/launch/kubernetes/kube_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "tests/kubernetes/stand_in.h"

namespace syncbn::coordinator {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr const char* kPods = "/api/v1/namespaces/training/pods";

json Pod(const std::string& name, const std::string& store, const std::string& phase,
         const std::string& job = "") {
  json pod = {{"metadata", {{"name", name}}}, {"status", {{"phase", phase}}}};
  if (!job.empty()) pod["metadata"]["labels"]["job"] = job;
  pod["metadata"]["labels"]["syncbn.org/store"] = store;
  return pod;
}

class KubeWatchTest : public ::testing::Test {
 protected:
  void Begin(KubeStandIn::Options options = {.pods = false}) {
    options.pods = false;
    server.emplace(options);
    client.emplace(server->access(),
                   KubeClient::Times{.connect = seconds(2), .answer = seconds(2)});
  }
  void Watch(seconds time = seconds(60)) {
    watch.emplace(KubeWatch::Options{.client = &*client,
                                     .path = kPods,
                                     .selector = "syncbn.org/store=mine",
                                     .key = "job",
                                     .request = {"list", "", "pods", "training"},
                                     .watch_time = time,
                                     .retry = milliseconds(50)});
  }
  void Put(const json& pod) { server->Control({{"put", {{"kind", "pods"}, {"object", pod}}}}); }
  void Expect(const std::string& what, const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + seconds(30);
    while (!holds()) {
      if (std::chrono::steady_clock::now() > end) {
        ADD_FAILURE() << "never: " << what << "; trouble: " << watch->Trouble(milliseconds(0));
        return;
      }
      std::this_thread::sleep_for(milliseconds(10));
    }
  }
  void ExpectPhase(const std::string& name, const std::string& phase) {
    Expect(name + " " + phase, [&] {
      const KubeObject pod = watch->Find(name);
      return pod ? (*pod)["status"]["phase"] == phase : phase.empty();
    });
  }

  std::optional<KubeStandIn> server;
  std::optional<KubeClient> client;
  std::optional<KubeWatch> watch;
};

TEST_F(KubeWatchTest, HasWhatWasThereAndWhatChangesWithoutAskingAgain) {
  Begin();
  for (int i = 0; i < 5; ++i) Put(Pod("old-" + std::to_string(i), "mine", "Pending"));
  Put(Pod("other", "theirs", "Pending"));
  Watch();
  EXPECT_EQ(watch->Trouble(seconds(10)), "");
  EXPECT_EQ(watch->All().size(), 5u) << "in pages of two";
  EXPECT_FALSE(watch->Find("other"));
  Put(Pod("old-3", "mine", "Running"));
  Put(Pod("new", "mine", "Pending"));
  Put(Pod("another", "theirs", "Pending"));
  ExpectPhase("old-3", "Running");
  ExpectPhase("new", "Pending");
  EXPECT_FALSE(watch->Find("another"));
  EXPECT_EQ(watch->All().size(), 6u);
  const int asked = server->Asked("list pods") + server->Asked("watch pods");
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(server->Asked("list pods") + server->Asked("watch pods"), asked);
  EXPECT_EQ(watch->lists(), 1);
}

TEST_F(KubeWatchTest, GoesOnWhereAWatchWasCutAndListsAgainWhenTheServerHasForgotten) {
  Begin();
  Put(Pod("a", "mine", "Pending"));
  Watch();
  ExpectPhase("a", "Pending");
  server->Control({{"cut", true}});
  Put(Pod("a", "mine", "Running"));
  ExpectPhase("a", "Running");
  EXPECT_EQ(watch->lists(), 1) << "from the version that it had";
  // 410 Gone.
  server->Control({{"forget", true}, {"cut", true}});
  Put(Pod("a", "mine", "Succeeded"));
  ExpectPhase("a", "Succeeded");
  EXPECT_GT(watch->lists(), 1);
}

TEST_F(KubeWatchTest, AnyRefusalOfAWatchMakesItListAgain) {
  Begin();
  Put(Pod("a", "mine", "Pending"));
  Watch();
  ExpectPhase("a", "Pending");
  int lists = 1;
  for (const int status : {400, 500, 403, 410}) {
    server->Control(
        {{"fault", {{"verb", "watch"}, {"resource", "pods"}, {"status", status}}}, {"cut", true}});
    Expect("another list", [&] { return watch->lists() == lists + 1; });
    Put(Pod("a", "mine", std::to_string(status)));
    ExpectPhase("a", std::to_string(status));
    Expect("no trouble", [&] { return watch->Trouble(milliseconds(0)).empty(); });
    ++lists;
  }
  EXPECT_EQ(watch->lists(), lists);
  // One that it always refuses is asked for ever more seldom, and what is listed is not trusted.
  server->Control(
      {{"fault", {{"verb", "watch"}, {"resource", "pods"}, {"status", 500}, {"count", 1000}}},
       {"cut", true}});
  std::this_thread::sleep_for(seconds(2));
  EXPECT_LE(watch->lists(), lists + 7) << "50, 100, 200, 400, 800 ms";
  EXPECT_THAT(watch->Trouble(milliseconds(0)), HasSubstr("status 500"));
}

TEST_F(KubeWatchTest, WhatIsFoundByItsLabelIsNotCopiedAndFollowsIt) {
  Begin();
  for (int i = 0; i < 4; ++i) Put(Pod("p-" + std::to_string(i), "mine", "Pending", "one"));
  Put(Pod("q", "mine", "Pending", "two"));
  Watch();
  ExpectPhase("q", "Pending");
  const std::vector<KubeObject> pods = watch->Select("one");
  ASSERT_EQ(pods.size(), 4u);
  EXPECT_EQ(watch->Select("one"), pods) << "the same objects";
  EXPECT_EQ(watch->Find("p-2"), pods[2]);
  EXPECT_TRUE(watch->Select("three").empty());
  // A change is another object; what was handed out stays as it was.
  Put(Pod("p-2", "mine", "Running", "one"));
  ExpectPhase("p-2", "Running");
  EXPECT_EQ((*pods[2])["status"]["phase"], "Pending");
  EXPECT_EQ((*watch->Select("one")[2])["status"]["phase"], "Running");
  Put(Pod("p-2", "mine", "Failed", "two"));
  ExpectPhase("p-2", "Failed");
  EXPECT_EQ(watch->Select("one").size(), 3u);
  EXPECT_EQ(watch->Select("two").size(), 2u);
  server->Control({{"gone", {{"kind", "pods"}, {"name", "q"}}}});
  ExpectPhase("q", "");
  EXPECT_EQ(watch->Select("two").size(), 1u);
}

TEST_F(KubeWatchTest, AConnectionThatEndsEarlyIsNoAnswerAndWhatMayBeAskedTwiceIs) {
  Begin();
  const auto drop = [&](const char* verb, int count) {
    server->Control(
        {{"fault", {{"verb", verb}, {"resource", "pods"}, {"drop", true}, {"count", count}}}});
  };
  drop("get", 1);
  EXPECT_EQ(client->Call("GET", std::string(kPods) + "/a").status, 404);
  EXPECT_EQ(server->Asked("get pods"), 2);
  drop("delete", 1);
  EXPECT_EQ(client->Call("DELETE", std::string(kPods) + "/a").status, 404);
  drop("get", 1000);
  EXPECT_THROW(client->Call("GET", std::string(kPods) + "/a"), Error) << "not for ever";
  // Over a connection of its own: one that was kept may have been closed before it was asked, which
  // curl finds out by itself.
  drop("create", 1);
  EXPECT_THROW(KubeClient(server->access(), {}).Call("POST", kPods, Pod("a", "mine", "Pending")),
               Error);
  EXPECT_EQ(server->Asked("create pods"), 1) << "it may have been done";
}

// Ends with the test.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    ::setenv(name, value.c_str(), 1);
  }
  ~Variable() { ::unsetenv(name_); }

 private:
  const char* name_;
};

TEST_F(KubeWatchTest, AProxyIsAskedForWhatTlsProtectsAndForNothingElse) {
  Begin({.tls = true});
  {
    const Variable proxy("https_proxy", "http://127.0.0.1:1");
    try {
      client->Call("GET", kPods);
      FAIL();
    } catch (const Error& error) {
      EXPECT_THAT(error.message(), HasSubstr("127.0.0.1 port 1")) << "nobody is there";
    }
    const Variable except("no_proxy", "127.0.0.1");
    EXPECT_EQ(client->Call("GET", kPods).status, 200);
  }
  Begin();
  const Variable proxy("http_proxy", "http://127.0.0.1:1"), all("all_proxy", "http://127.0.0.1:1");
  EXPECT_EQ(KubeClient(server->access(), {}).Call("GET", kPods).status, 200);
}

TEST_F(KubeWatchTest, PagesThatTookTooLongAreAskedForFromTheFirst) {
  Begin();
  for (int i = 0; i < 5; ++i) Put(Pod("old-" + std::to_string(i), "mine", "Pending"));
  server->Control(
      {{"fault", {{"verb", "list"}, {"resource", "pods"}, {"skip", 1}, {"status", 410}}}});
  Watch();
  EXPECT_EQ(watch->Trouble(seconds(10)), "");
  EXPECT_EQ(watch->All().size(), 5u);
  EXPECT_EQ(server->Asked("list pods"), 5) << "two pages, and all three again";
}

TEST_F(KubeWatchTest, ALongQuietTimeDoesNotMakeItListAgain) {
  Begin();
  Watch(seconds(1));
  Expect("a list", [&] { return watch->lists() == 1; });
  // Changes of others move the version on; bookmarks tell.
  for (int i = 0; i < 5; ++i) Put(Pod("other", "theirs", std::to_string(i)));
  std::this_thread::sleep_for(milliseconds(2500));
  Put(Pod("a", "mine", "Pending"));
  ExpectPhase("a", "Pending");
  EXPECT_EQ(watch->lists(), 1);
  EXPECT_GE(server->Asked("watch pods"), 3) << "a second each";
}

TEST_F(KubeWatchTest, SaysWhyItCannotBeTrustedAndRecovers) {
  Begin();
  Watch();
  ASSERT_EQ(watch->Trouble(seconds(10)), "");
  server->Control({{"down", 1.0}});
  Expect("trouble", [&] { return !watch->Trouble(milliseconds(0)).empty(); });
  EXPECT_THAT(watch->Trouble(milliseconds(0)),
              HasSubstr("the API server of Kubernetes at http://127.0.0.1:"));
  Expect("an end of it", [&] { return watch->Trouble(milliseconds(0)).empty(); });
  Put(Pod("a", "mine", "Pending"));
  ExpectPhase("a", "Pending");
  // A right that somebody takes away.
  server->Control({{"deny", {"watch pods"}}, {"cut", true}});
  Expect("a refusal", [&] { return !watch->Trouble(milliseconds(0)).empty(); });
  EXPECT_THAT(watch->Trouble(milliseconds(0)),
              HasSubstr("the role needs the verb 'watch' on 'pods' of the group ''"));
  server->Control({{"clear", true}});
  Expect("an end of it", [&] { return watch->Trouble(milliseconds(0)).empty(); });
}

TEST_F(KubeWatchTest, AServerThatHangsIsWaitedForNoLongerThanItsTime) {
  Begin();
  server->Control({{"fault", {{"verb", "get"}, {"resource", "pods"}, {"hang", 20}}}});
  const auto begin = std::chrono::steady_clock::now();
  try {
    client->Call("GET", std::string(kPods) + "/a");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
    EXPECT_THAT(error.message(), HasSubstr("does not answer: Operation timed out"));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(10));
}

TEST_F(KubeWatchTest, RetryAfterIsHeard) {
  Begin();
  server->Control({{"fault",
                    {{"verb", "get"},
                     {"resource", "pods"},
                     {"status", 429},
                     {"headers", {{"Retry-After", "7"}}}}}});
  EXPECT_EQ(client->Call("GET", std::string(kPods) + "/a").retry_after, seconds(7));
  EXPECT_EQ(client->Call("GET", std::string(kPods) + "/a").status, 404);
}

TEST_F(KubeWatchTest, TheTokenIsReadAnewAndShownOverTlsToTheRightServerAlone) {
  Begin({.tls = true, .token = "first"});
  EXPECT_EQ(client->Call("GET", kPods).status, 200);
  // Both ends read it again.
  WriteFileAtomically(server->token_file(), "second\n");
  EXPECT_EQ(client->Call("GET", kPods).status, 200);
  std::filesystem::rename(server->token_file(), server->token_file().string() + ".away");
  try {
    client->Call("GET", kPods);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnavailable) << "it may come back";
    EXPECT_THAT(error.message(), HasSubstr("the token for Kubernetes: "));
  }
  std::filesystem::rename(server->token_file().string() + ".away", server->token_file());
  KubeAccess access = server->access();
  access.token_file.clear();
  EXPECT_EQ(KubeClient(access, {}).Call("GET", kPods).status, 401);
  // A server that another authority vouches for.
  access = server->access();
  access.ca_file.clear();
  EXPECT_THROW(KubeClient(access, {}).Call("GET", kPods), Error);
}

TEST(KubeAccess, WhatCannotWorkIsRefused) {
  const auto refusal = [](const KubeAccess& access) {
    try {
      ValidateAccess(access);
    } catch (const Error& error) {
      return error.message();
    }
    return std::string();
  };
  EXPECT_EQ(refusal({.server = "https://10.0.0.1:6443", .name_space = "n"}), "");
  EXPECT_EQ(refusal({.server = "http://127.0.0.1:8001", .name_space = "n"}), "");
  EXPECT_THAT(refusal({.server = "10.0.0.1", .name_space = "n"}), HasSubstr("must be a URL"));
  for (const char* here :
       {"http://localhost", "http://localhost:8001", "http://127.1.2.3", "http://[::1]:8001"})
    EXPECT_EQ(refusal({.server = here, .name_space = "n"}), "") << here;
  for (const char* elsewhere :
       {"http://127.evil.example", "http://127.0.0.1.evil.example:80", "http://localhost.example",
        "http://[::1:2]", "http://[::2]", "http://128.0.0.1", "http://127"})
    EXPECT_THAT(refusal({.server = elsewhere, .name_space = "n"}), HasSubstr("--kube-api"))
        << elsewhere;
  for (const char* more : {"https://127.0.0.1@evil.example", "http://me:word@127.0.0.1",
                           "https://10.0.0.1?x=1", "https://10.0.0.1#x", "https://"})
    EXPECT_NE(refusal({.server = more, .name_space = "n"}), "") << more;
  EXPECT_THAT(refusal({.server = "https://10.0.0.1/api", .name_space = "n"}),
              HasSubstr("without a path"));
  EXPECT_THAT(refusal({.server = "http://10.0.0.1", .name_space = "n"}),
              HasSubstr("neither https nor on this machine"));
  EXPECT_THAT(refusal({.server = "http://127.0.0.1", .token_file = "/x", .name_space = "n"}),
              HasSubstr("in the open"));
  EXPECT_THAT(refusal({.server = "https://10.0.0.1"}),
              HasSubstr("--kube-namespace NAME is needed"));
  EXPECT_THAT(refusal({.server = "https://10.0.0.1", .ca_file = "/no/such", .name_space = "n"}),
              HasSubstr("/no/such"));
}

TEST(KubeAccess, IsThatOfThePodsServiceAccount) {
  const TempFolder account;
  WriteFileAtomically(account.path() / "token", "t\n");
  WriteFileAtomically(account.path() / "namespace", "training");
  ::setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
  ::setenv("KUBERNETES_SERVICE_PORT", "443", 1);
  const KubeAccess access = AccessOfPod(account.path());
  ::unsetenv("KUBERNETES_SERVICE_HOST");
  ::unsetenv("KUBERNETES_SERVICE_PORT");
  EXPECT_EQ(access.server, "https://[fd00::1]:443");
  EXPECT_EQ(access.name_space, "training");
  EXPECT_EQ(access.token_file, account.path() / "token");
  EXPECT_EQ(access.ca_file, account.path() / "ca.crt");
}

TEST(KubeAccess, OutsideOfAPodItSaysWhatToGive) {
  try {
    AccessOfPod("/no/such/account");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(),
                HasSubstr("--kube-api, --kube-token, --kube-ca and --kube-namespace"));
  }
}

}  // namespace
}  // namespace syncbn::coordinator
