// Who is let in, to what, how often, and what is kept of it.
#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>
#include <sys/stat.h>

#include <sstream>
#include <thread>

#include "tests/coordinator/service/server_fixture.h"

namespace syncbn::coordinator {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

using AccessTest = ServerTest;

void ExpectNoFileHolds(const std::filesystem::path& folder, const std::string& secret) {
  int files = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder)) {
    if (!file.is_regular_file()) continue;
    EXPECT_EQ(ReadFile(file.path()).find(secret), std::string::npos) << file.path();
    ++files;
  }
  EXPECT_GT(files, 0) << folder;
}

TEST_F(AccessTest, WithoutTokensWhoeverIsOnThisMachineIsAnAdmin) {
  Start();
  AddJob(server.store);
  EXPECT_EQ(Get("jobs/1"), "OK");
  Context context;
  v1::ListAuditResponse response;
  EXPECT_EQ(Say(admin->ListAudit(&context, {}, &response)), "OK");
  EXPECT_EQ(Get("jobs/1", "no-such-secret"),
            "UNAUTHENTICATED UNAUTHENTICATED: this token is not known here: it was revoked, or is of "
            "another server");
}

TEST_F(AccessTest, FromTheFirstTokenOnEverybodyNeedsOne) {
  Start();
  const std::string secret = server.authenticator.Create("root", Role::kAdmin, std::nullopt);
  AddJob(server.store);
  EXPECT_EQ(Get("jobs/1"),
            "UNAUTHENTICATED UNAUTHENTICATED: this server asks for a token, and none has come")
      << "how one is given is the client's to say";
  EXPECT_EQ(Get("jobs/1", secret), "OK");
}

TEST_F(AccessTest, EveryMethodRefusesWhoShowsNoToken) {
  Start();
  server.authenticator.Create("root", Role::kAdmin, std::nullopt);
  int tried = 0;
  for (const char* service : {"MetricsService", "LogService", "AdminService"}) {
    for (const MethodRule& rule : MethodRules()) {
      if (!rule.method.starts_with(std::string(service) + "/")) continue;
      const grpc::Status status = CallEmpty(channel, "/syncbn.v1." + std::string(rule.method));
      EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << rule.method;
      ++tried;
    }
  }
  EXPECT_EQ(tried, 10);
  EXPECT_EQ(CallEmpty(channel, "/syncbn.v1.JobService/WatchJobs").error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(AccessTest, ARequestThatIsNoMessageIsAnErrorWithAReasonAndKept) {
  Start();
  const std::string root = server.authenticator.Create("root", Role::kAdmin, std::nullopt);
  int tried = 0;
  for (const MethodRule& rule : MethodRules()) {
    // Streams of requests end where one cannot be read.
    if (rule.method.starts_with("WorkerService/") || rule.method.starts_with("ClusterService/") ||
        rule.method.starts_with("StudyService/")) {
      continue;
    }
    const std::string method(rule.method);
    // Field 1 with more bytes than there are.
    EXPECT_EQ(Say(CallWith(channel, "/syncbn.v1." + method, "\x0a\x7f", root)),
              "INVALID_ARGUMENT MESSAGE_INVALID: the bytes of the request are no message of " +
                  method + ": they are damaged, or of another method or version");
    EXPECT_THAT(Say(CallWith(channel, "/syncbn.v1." + method, "\x0a\x7f")),
                StartsWith("UNAUTHENTICATED"));
    ++tried;
  }
  EXPECT_EQ(tried, 22);
  bool kept = false;
  for (const AuditRecord& entry : Audit()) {
    kept |= entry.actor == "root" && entry.method == "JobService/CancelJob" &&
            entry.code == grpc::StatusCode::INVALID_ARGUMENT;
  }
  EXPECT_TRUE(kept);
}

TEST_F(AccessTest, ATextThatIsCutInsideACharacterCanBeReadByClients) {
  Start();
  std::string umlauts;
  for (int i = 0; i < 1000; ++i) umlauts += "\xc3\xa4";
  // One byte more or less before: the cut is inside a character in one of them.
  for (const std::string& name : {umlauts, "x" + umlauts}) {
    EXPECT_THAT(Cancel(name), StartsWith("INVALID_ARGUMENT FIELD_INVALID: "));
    EXPECT_THAT(Cancel("jobs/1/" + name), StartsWith("INVALID_ARGUMENT FIELD_INVALID: "));
  }
  Context context;
  v1::ListAuditResponse response;
  EXPECT_EQ(Say(admin->ListAudit(&context, v1::ListAuditRequest(), &response)), "OK");
  EXPECT_EQ(response.records_size(), 4);
}

TEST_F(AccessTest, ARoleAllowsWhatIsBelowIt) {
  Start();
  const std::string root = server.authenticator.Create("root", Role::kAdmin, std::nullopt);
  const std::string anna = server.authenticator.Create("anna", Role::kSubmitter, std::nullopt);
  const std::string bert = server.authenticator.Create("bert", Role::kViewer, std::nullopt);
  AddJob(server.store);
  EXPECT_EQ(Get("jobs/1", bert), "OK");
  EXPECT_EQ(Cancel("jobs/1", bert),
            "PERMISSION_DENIED ROLE_TOO_LOW: JobService/CancelJob needs the role submitter; 'bert' "
            "has the role viewer");
  EXPECT_EQ(Cancel("jobs/1", anna), "OK");
  EXPECT_EQ(Cancel("jobs/1", root), "OK");
  EXPECT_EQ(Revoke("bert", anna),
            "PERMISSION_DENIED ROLE_TOO_LOW: AdminService/RevokeToken needs the role admin; 'anna' "
            "has the role submitter");
  EXPECT_EQ(Revoke("bert", root), "OK");
  EXPECT_THAT(Get("jobs/1", bert), StartsWith("UNAUTHENTICATED"));
}

TEST_F(AccessTest, AWorkersTokenIsGoodForItsAttemptAndNothingElse) {
  Start();
  AddJob(server.store);
  server.AddAttempt(1, 1, "first-secret");
  server.AddAttempt(1, 2, "second-secret");
  EXPECT_EQ(Beat("jobs/1/attempts/2", "second-secret"), "OK");
  EXPECT_EQ(Beat("jobs/1/attempts/2", "first-secret"),
            "PERMISSION_DENIED ROLE_TOO_LOW: this token is good for jobs/1/attempts/1 only, not for "
            "jobs/1/attempts/2");
  EXPECT_EQ(Get("jobs/1", "first-secret"),
            "PERMISSION_DENIED ROLE_TOO_LOW: JobService/GetJob needs the role viewer; this is the "
            "token of jobs/1/attempts/1");
  // An admin is no worker, with a token or without.
  EXPECT_EQ(Beat("jobs/1/attempts/1", ""),
            "PERMISSION_DENIED ROLE_TOO_LOW: WorkerService/Heartbeat needs the token of a job's "
            "attempt; 'local' has the role admin");
  const std::string root = server.authenticator.Create("root", Role::kAdmin, std::nullopt);
  EXPECT_THAT(Beat("jobs/1/attempts/1", root), StartsWith("PERMISSION_DENIED ROLE_TOO_LOW"));
}

TEST_F(AccessTest, TokensAreMadeListedAndRevokedAndNeverStoredInTheOpen) {
  Start();
  v1::CreateTokenRequest request;
  v1::CreateTokenResponse response;
  request.mutable_token()->set_name("carl");
  request.mutable_token()->set_role(v1::Token::VIEWER);
  const auto create = [&](const std::string& token) {
    Context context(token);
    return Say(admin->CreateToken(&context, request, &response));
  };
  EXPECT_EQ(create(""),
            "FAILED_PRECONDITION LAST_ADMIN: make an admin's token first: from the first token on, "
            "only admins can make tokens, and there would be none");
  request.mutable_token()->set_role(v1::Token::ADMIN);
  EXPECT_EQ(create(""), "OK");
  const std::string secret = response.secret();
  EXPECT_EQ(secret.size(), 64u);
  EXPECT_EQ(create(secret),
            "ALREADY_EXISTS TOKEN_EXISTS: there is a token 'carl' already: revoke it or choose "
            "another name");
  request.mutable_token()->set_name("scheduler");
  EXPECT_THAT(create(secret), StartsWith("INVALID_ARGUMENT FIELD_INVALID: 'scheduler' cannot be"));
  request.mutable_token()->set_name("a b");
  EXPECT_THAT(create(secret), StartsWith("INVALID_ARGUMENT FIELD_INVALID: 'a b' cannot be"));
  request.mutable_token()->set_name("dora");
  request.mutable_token()->clear_role();
  EXPECT_EQ(create(secret),
            "INVALID_ARGUMENT FIELD_INVALID: a token needs a role: viewer, submitter or admin");
  request.mutable_token()->set_role(v1::Token::VIEWER);
  *request.mutable_token()->mutable_expire_time() =
      google::protobuf::util::TimeUtil::SecondsToTimestamp(1000);
  EXPECT_THAT(create(secret), HasSubstr("1970-01-01T00:16:40.000000Z, which is in the past"));

  Context context(secret);
  v1::ListTokensResponse tokens;
  ASSERT_EQ(Say(admin->ListTokens(&context, {}, &tokens)), "OK");
  ASSERT_EQ(tokens.tokens_size(), 1);
  EXPECT_EQ(tokens.tokens(0).name(), "carl");
  EXPECT_EQ(tokens.tokens(0).role(), v1::Token::ADMIN);
  EXPECT_EQ(Revoke("nobody", secret),
            "NOT_FOUND TOKEN_NOT_FOUND: there is no token 'nobody'");
  EXPECT_EQ(Revoke("carl", secret),
            "FAILED_PRECONDITION LAST_ADMIN: 'carl' is the last admin's token: make another before "
            "revoking it");
  ExpectNoFileHolds(server.folder.path() / "data", secret);
  EXPECT_EQ(ReadFile(server.folder.path() / "log").find(secret), std::string::npos);
}

TEST_F(AccessTest, ARequestForATokenThatComesAgainMakesNothingAndSaysThatItHasMadeOne) {
  const std::string root = server.authenticator.Create("root", Role::kAdmin, std::nullopt);
  Start();
  v1::CreateTokenRequest request;
  v1::CreateTokenResponse response;
  request.mutable_token()->set_name("anna");
  request.mutable_token()->set_role(v1::Token::SUBMITTER);
  request.set_request_id("a");
  const auto create = [&] {
    Context context(root);
    response.Clear();
    return admin->CreateToken(&context, request, &response);
  };
  ASSERT_EQ(Say(create()), "OK");
  const std::string secret = response.secret();
  const grpc::Status again = create();
  EXPECT_EQ(Say(again),
            "ALREADY_EXISTS TOKEN_EXISTS: this request has made the token 'anna' before, and its "
            "secret was in that answer only. If it was lost on the way, revoke 'anna' and make "
            "another token");
  EXPECT_EQ(InfoOf(again).metadata().at("name"), "anna");
  EXPECT_EQ(response.secret(), "");
  EXPECT_EQ(Get("jobs/1", secret), "NOT_FOUND JOB_NOT_FOUND: there is no job jobs/1")
      << "the token of the first answer stays good";
  request.mutable_token()->set_role(v1::Token::VIEWER);
  EXPECT_THAT(Say(create()), StartsWith("ALREADY_EXISTS REQUEST_ID_REUSED: "));
  ExpectNoFileHolds(server.folder.path() / "data", secret);
}

TEST_F(AccessTest, ARequestToRevokeATokenThatComesAgainDoesNotTouchANewOneOfThatName) {
  const std::string root = server.authenticator.Create("root", Role::kAdmin, std::nullopt);
  server.authenticator.Create("anna", Role::kViewer, std::nullopt);
  Start();
  v1::RevokeTokenRequest request;
  request.set_name("anna");
  request.set_request_id("r");
  const auto revoke = [&] {
    Context context(root);
    google::protobuf::Empty empty;
    return Say(admin->RevokeToken(&context, request, &empty));
  };
  EXPECT_EQ(revoke(), "OK");
  EXPECT_EQ(revoke(), "OK");
  const std::string second = server.authenticator.Create("anna", Role::kViewer, std::nullopt);
  EXPECT_EQ(revoke(), "OK");
  EXPECT_EQ(Get("jobs/1", second), "NOT_FOUND JOB_NOT_FOUND: there is no job jobs/1");
  request.set_request_id("another");
  EXPECT_EQ(revoke(), "OK");
  EXPECT_THAT(Get("jobs/1", second), StartsWith("UNAUTHENTICATED "));
}

TEST_F(AccessTest, AnExpiredTokenIsRefusedByName) {
  Start();
  ManualClock clock;
  Authenticator authenticator(server.store, clock);
  const std::string root = authenticator.Create("root", Role::kAdmin, std::nullopt);
  const std::string guest = authenticator.Create("guest", Role::kViewer, clock.Now() + 1h);
  EXPECT_EQ(authenticator.Identify("Bearer " + guest, "ipv4:1.2.3.4:5").name, "guest");
  clock.Advance(1h);
  EXPECT_THAT(ErrorOf([&] { authenticator.Identify("Bearer " + guest, ""); }),
              HasSubstr("the token 'guest' expired at 2"));
  EXPECT_EQ(authenticator.Identify("bearer " + root, "").role, Role::kAdmin);
  EXPECT_EQ(ErrorOf([&] { authenticator.Identify("Basic abc", ""); }),
            "PERMISSION_DENIED: the authorization header is not 'Bearer TOKEN'");
}

TEST_F(AccessTest, TheFirstAdminsTokenIsWrittenOnceForItsOwnerOnly) {
  const auto file = server.folder.path() / "token";
  EXPECT_TRUE(server.authenticator.WriteFirstAdminToken(file));
  struct stat status {};
  ASSERT_EQ(::stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  std::string secret = ReadFile(file);
  ASSERT_EQ(secret.back(), '\n');
  secret.pop_back();
  EXPECT_EQ(server.authenticator.Identify("Bearer " + secret, "").role, Role::kAdmin);
  EXPECT_FALSE(server.authenticator.WriteFirstAdminToken(server.folder.path() / "another"));
  EXPECT_FALSE(std::filesystem::exists(server.folder.path() / "another"));
}

TEST_F(AccessTest, AFileThatIsThereAlreadyIsNoPlaceForTheFirstAdminsToken) {
  const auto file = server.folder.path() / "token";
  WriteFileAtomically(file, "of an earlier store\n");
  EXPECT_EQ(
      ErrorOf([&] { server.authenticator.WriteFirstAdminToken(file); }),
      "ALREADY_EXISTS: the file " + file.string() +
          " for the first admin's token is there already, and its content, which this store does "
          "not know, would be lost: remove it, or give --admin-token-file another name");
  EXPECT_EQ(ReadFile(file), "of an earlier store\n");
  EXPECT_FALSE(server.authenticator.HasTokens());
}

TEST_F(AccessTest, TooManyCallsOfATokenAreRefusedWithTheTimeToWait) {
  server.gate_options.user_rate = {.per_second = 0.5, .burst = 3};
  Start();
  AddJob(server.store);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Get("jobs/1"), "OK") << "local callers have no limit";
  const std::string root = server.authenticator.Create("root", Role::kAdmin, std::nullopt);
  const std::string anna = server.authenticator.Create("anna", Role::kViewer, std::nullopt);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Get("jobs/1", root), "OK");
  Context context(root);
  v1::GetJobRequest request;
  v1::Job job;
  const grpc::Status status = jobs->GetJob(&context, request, &job);
  EXPECT_THAT(Say(status), StartsWith("RESOURCE_EXHAUSTED RATE_LIMITED: 'root' makes more than "));
  const int64_t wait = std::stoll(InfoOf(status).metadata().at("retry_after_ms"));
  EXPECT_GT(wait, 0);
  EXPECT_LE(wait, 2000);
  EXPECT_EQ(Get("jobs/1", anna), "OK") << "others are not concerned";
}

TEST(RateLimiter, GivesBackWhatTimeBrings) {
  RateLimiter limiter({.per_second = 10, .burst = 2});
  const MonotonicTime start{};
  EXPECT_FALSE(limiter.Take("a", start));
  EXPECT_FALSE(limiter.Take("a", start));
  EXPECT_EQ(limiter.Take("a", start).value().count() / 1000, 100);
  EXPECT_TRUE(limiter.Take("a", start + 90ms));
  EXPECT_FALSE(limiter.Take("a", start + 100ms));
  EXPECT_TRUE(limiter.Take("a", start + 100ms));
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(limiter.Take("a", start + 10s));
  EXPECT_TRUE(limiter.Take("a", start + 10s)) << "no more than the burst is saved up";
}

TEST_F(AccessTest, AMessageThatIsTooLargeIsRefusedWithItsSize) {
  server.gate_options.max_message_bytes = 1000;
  Start();
  EXPECT_EQ(Get(std::string(1000, 'x')),
            "RESOURCE_EXHAUSTED TOO_LARGE: the request has 1003 bytes; this server takes at most "
            "1000: send less, e.g. a shorter run file");
  // Far beyond, gRPC itself refuses it before anybody reads it; the client makes TOO_LARGE of that.
  EXPECT_EQ(Get(std::string(3 << 20, 'x')),
            "RESOURCE_EXHAUSTED : Received message larger than max (3145733 vs. 1050576)");
}

TEST_F(AccessTest, AHundredFaultsArriveAtAClientThatTakesThemAndSomeAtAnyOther) {
  Start();
  const auto faults = [&](const std::shared_ptr<grpc::Channel>& to, const char* max_details) {
    Context context;
    if (max_details != nullptr) context.AddMetadata("syncbn-max-details", max_details);
    v1::GetJobRequest request;
    request.set_name("100 faults");
    v1::Job job;
    const grpc::Status status = v1::JobService::NewStub(to)->GetJob(&context, request, &job);
    EXPECT_THAT(Say(status), StartsWith("INVALID_ARGUMENT RUN_FILE_INVALID: run.yaml:1:1: "));
    v1::ErrorStatus wire;
    v1::RunFileErrors errors;
    EXPECT_TRUE(wire.ParseFromString(status.error_details()));
    EXPECT_TRUE(wire.details_size() == 2 && wire.details(1).UnpackTo(&errors));
    return errors.errors_size();
  };
  EXPECT_GE(faults(channel, nullptr), 5);
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, 4 << 20);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto large = grpc::CreateCustomChannel(server.server->addresses().front(),
                                               grpc::InsecureChannelCredentials(), arguments);
  EXPECT_EQ(faults(large, "1000000"), 100);
  EXPECT_LT(faults(large, "nonsense"), 100);
}

TEST_F(AccessTest, ACallerHasOnlySoManyStreams) {
  server.gate_options.streams_per_caller = 2;
  Start();
  AddJob(server.store);
  std::vector<std::unique_ptr<Context>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::WatchJobsResponse>>> streams;
  v1::WatchJobsRequest request;
  v1::WatchJobsResponse response;
  for (int i = 0; i < 2; ++i) {
    contexts.push_back(std::make_unique<Context>());
    streams.push_back(jobs->WatchJobs(contexts.back().get(), request));
    ASSERT_TRUE(streams.back()->Read(&response));
  }
  const auto third = [&] {
    Context context;
    auto stream = jobs->WatchJobs(&context, request);
    const bool read = stream->Read(&response);
    if (read) context.TryCancel();
    const grpc::Status status = stream->Finish();
    return read ? "read" : Say(status);
  };
  EXPECT_EQ(third(),
            "RESOURCE_EXHAUSTED RATE_LIMITED: 'local' has 2 open streams, which is the limit: end "
            "one of them");
  contexts.front()->TryCancel();
  streams.front()->Finish();
  // The server hears of it a moment later.
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  std::string said;
  do {
    said = third();
  } while (said != "read" && std::chrono::steady_clock::now() < deadline);
  EXPECT_EQ(said, "read");
  contexts.back()->TryCancel();
  streams.back()->Finish();
}

TEST_F(AccessTest, EveryMutationAndEveryRefusalIsInTheAuditTable) {
  Start();
  AddJob(server.store);
  const std::string root = server.authenticator.Create("root", Role::kAdmin, std::nullopt);
  const std::string bert = server.authenticator.Create("bert", Role::kViewer, std::nullopt);
  EXPECT_EQ(Cancel("jobs/1", root), "OK");
  EXPECT_THAT(Cancel("jobs/9", root), HasSubstr("JOB_NOT_FOUND: there is no job jobs/9"));
  EXPECT_THAT(Cancel("jobs/1", bert), HasSubstr("ROLE_TOO_LOW"));
  EXPECT_THAT(Get("jobs/1"), HasSubstr("UNAUTHENTICATED"));
  EXPECT_EQ(Get("jobs/1", bert), "OK");
  EXPECT_THAT(Get("jobs/9", bert), HasSubstr("JOB_NOT_FOUND"));

  Context context(root);
  v1::ListAuditRequest request;
  v1::ListAuditResponse page;
  request.set_page_size(3);
  ASSERT_EQ(Say(admin->ListAudit(&context, request, &page)), "OK");
  std::vector<std::string> lines;
  auto collect = [&] {
    for (const auto& record : page.records()) {
      EXPECT_THAT(record.peer(), StartsWith("ipv4:127.0.0.1:"));
      EXPECT_GT(record.time().seconds(), 1'600'000'000);
      lines.push_back(record.actor() + " " + record.method() + " " + record.resource() + " " +
                      record.code());
    }
  };
  collect();
  ASSERT_FALSE(page.next_page_token().empty());
  request.set_page_token(page.next_page_token());
  Context next(root);
  page.Clear();
  ASSERT_EQ(Say(admin->ListAudit(&next, request, &page)), "OK");
  collect();
  EXPECT_EQ(page.next_page_token(), "");
  EXPECT_THAT(lines, ElementsAre(" JobService/GetJob jobs/1 UNAUTHENTICATED",
                                 "bert JobService/CancelJob jobs/1 PERMISSION_DENIED",
                                 "root JobService/CancelJob jobs/9 NOT_FOUND",
                                 "root JobService/CancelJob jobs/1 OK"));
  request.set_page_token("x");
  Context wrong(root);
  EXPECT_EQ(Say(admin->ListAudit(&wrong, request, &page)),
            "INVALID_ARGUMENT PAGE_TOKEN_INVALID: page token 'x' is not of this list: start anew");
}

TEST_F(AccessTest, AFloodOfRefusedCallsFillsNeitherTheAuditTableNorTheLog) {
  server.gate_options.refusal_rate = {.per_second = 0.001, .burst = 5};
  Start();
  for (int i = 0; i < 30; ++i) EXPECT_THAT(Get("jobs/1", "guess"), StartsWith("UNAUTHENTICATED"));
  EXPECT_EQ(Audit().size(), 5u);
  const std::string log = ReadFile(server.folder.path() / "log");
  int lines = 0;
  for (size_t at = 0; (at = log.find("rpc.refused", at)) != std::string::npos; ++at) ++lines;
  EXPECT_EQ(lines, 5);
}

TEST_F(AccessTest, WhatTheAuditTableHoldsIsForgottenInTime) {
  server.store.Write([](Tables& tables) {
    tables.audit.Add({.time = kTestNow, .actor = "old", .method = "JobService/CancelJob"});
    tables.audit.Add({.time = kTestNow + 1h, .actor = "new", .method = "JobService/CancelJob"});
  });
  RetentionPolicy policy;
  policy.audit = 1h;
  Forget(server.store, policy, kTestNow + 1h + 1s);
  ASSERT_EQ(Audit().size(), 1u);
  EXPECT_EQ(Audit().front().actor, "new");
}

}  // namespace
}  // namespace syncbn::coordinator
