// How programs of users reach a coordinator: retries, errors, streams that go on.
#include "client/connection.h"

#include <gmock/gmock.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <regex>
#include <set>

#include "client/watches.h"
#include "coordinator/api_error.h"
#include "tests/client/fake_coordinator.h"
#include "tests/support/closed_port.h"

namespace syncbn::client {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// The text of what `body` throws; fails the test when it throws nothing.
template <typename Body>
std::string Thrown(Body&& body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

Connection::Options OptionsFor(const FakeCoordinator& fake) {
  return {.address = fake.address(), .first_pause = std::chrono::milliseconds(20)};
}

TEST(RequestId, IsAVersion4UuidAndNeverTheSame) {
  const std::regex form("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) {
    ids.insert(NewRequestId());
    EXPECT_TRUE(std::regex_match(*ids.rbegin(), form)) << *ids.rbegin();
  }
  EXPECT_EQ(ids.size(), 1000u);
}

TEST(Connection, TriesAgainWithTheSameRequestIdWhenTheCoordinatorIsAwayForAMoment) {
  FakeCoordinator fake;
  fake.jobs.failures = {grpc::Status(grpc::StatusCode::UNAVAILABLE, "starting"),
                        grpc::Status(grpc::StatusCode::UNAVAILABLE, "starting")};
  Connection connection(OptionsFor(fake));
  v1::CreateJobRequest request;
  EXPECT_EQ(connection.Call(&v1::JobService::Stub::CreateJob, request).name(), "jobs/17");
  ASSERT_EQ(fake.jobs.created.size(), 3u);
  EXPECT_EQ(fake.jobs.created[0].request_id().size(), 36u);
  EXPECT_EQ(fake.jobs.created[0].request_id(), fake.jobs.created[1].request_id());
  EXPECT_EQ(fake.jobs.created[0].request_id(), fake.jobs.created[2].request_id());
  connection.Call(&v1::JobService::Stub::CreateJob, request);
  EXPECT_NE(fake.jobs.created[3].request_id(), fake.jobs.created[0].request_id());
}

TEST(Connection, DoesNotRepeatWhatTheCoordinatorHasRefused) {
  FakeCoordinator fake;
  fake.jobs.failures = {ApiStatus(grpc::StatusCode::FAILED_PRECONDITION, "WRONG_STATE", "it has ended",
                                  {{"state", "FAILED"}})};
  Connection connection(OptionsFor(fake));
  try {
    connection.Call(&v1::JobService::Stub::CreateJob, v1::CreateJobRequest());
    FAIL() << "nothing was thrown";
  } catch (const coordinator::ApiError& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFailedPrecondition);
    EXPECT_EQ(error.reason(), "WRONG_STATE");
    EXPECT_EQ(error.metadata().at("state"), "FAILED");
    EXPECT_EQ(error.message(), "it has ended");
  }
  EXPECT_EQ(fake.jobs.created.size(), 1u);
}

TEST(Connection, SendsTheTokenWithEveryCall) {
  FakeCoordinator fake;
  Connection::Options options = OptionsFor(fake);
  options.token = "secret";
  Connection(options).Call(&v1::JobService::Stub::CreateJob, v1::CreateJobRequest());
  EXPECT_THAT(fake.jobs.authorizations, testing::ElementsAre("Bearer secret"));
}

TEST(Connection, NamesTheAddressAndWhatToDoWhereNothingListens) {
  const ClosedPort nobody;
  const std::string& address = nobody.address();
  Connection connection({.address = address, .tries = 2, .first_pause = std::chrono::milliseconds(10)});
  const std::string text =
      Thrown([&] { connection.Call(&v1::JobService::Stub::GetJob, v1::GetJobRequest()); });
  EXPECT_EQ(text, "no coordinator answers at " + address +
                      ": Connection refused\n  start one with 'syncbn serve --data DIR', or name another "
                      "with --coordinator HOST:PORT or SYNCBN_SERVER");
}

TEST(Connection, AHostThatDoesNotExistIsNamed) {
  Connection connection({.address = "no-such-host.invalid:7700", .tries = 1});
  const std::string text =
      Thrown([&] { connection.Call(&v1::JobService::Stub::GetJob, v1::GetJobRequest()); });
  EXPECT_THAT(text, StartsWith("no coordinator answers at no-such-host.invalid:7700: "));
}

TEST(Connection, EndsACallThatIsNotAnsweredAtItsDeadline) {
  FakeCoordinator fake;
  Connection::Options options = OptionsFor(fake);
  options.call_deadline = std::chrono::milliseconds(300);
  Connection connection(options);
  // The fake answers only once the lock is free again.
  std::unique_lock lock(fake.jobs.mutex);
  const std::string text =
      Thrown([&] { connection.Call(&v1::JobService::Stub::GetJob, v1::GetJobRequest()); });
  lock.unlock();
  EXPECT_THAT(text, HasSubstr("did not answer within 0.3 s"));
}

TEST(Connection, RefusesAddressesAndTlsSettingsThatCannotBeRight) {
  for (const char* address : {"", "localhost", ":7700", "host:", "host:port", "host:99999", "a b:7700"}) {
    EXPECT_EQ(Thrown([&] { Connection({.address = address}); }),
              "the coordinator's address \"" + std::string(address) +
                  "\" is not HOST:PORT, e.g. 127.0.0.1:7700, nor unix:/PATH");
  }
  EXPECT_EQ(Thrown([] { Connection({.tls_cert = "a.pem"}); }),
            "--tls-cert and --tls-key need --tls-ca as well");
  EXPECT_EQ(Thrown([] { Connection({.tls_ca = "ca.pem", .tls_cert = "a.pem"}); }),
            "--tls-cert and --tls-key go together: one is missing");
  EXPECT_THAT(Thrown([] { Connection({.tls_ca = "/nowhere/ca.pem"}); }), HasSubstr("/nowhere/ca.pem"));
}

// As gRPC ends a call whose message is far beyond the limit: without a reason of the coordinator's.
TEST(ThrowStatus, MakesAReasonOfWhatGrpcItselfFindsTooLarge) {
  const grpc::Status status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                            "Received message larger than max (12000000 vs. 9437184)");
  const auto thrown = [&](const CallTarget& target) {
    try {
      ThrowStatus(status, target);
    } catch (const coordinator::ApiError& error) {
      EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
      EXPECT_EQ(error.reason(), "TOO_LARGE");
      EXPECT_EQ(error.metadata().at("bytes"), "12000000");
      return error.metadata().at("limit") + ": " + error.message();
    }
    return std::string();
  };
  EXPECT_EQ(thrown({.address = "a:1", .max_answer_bytes = 1 << 26, .max_request_bytes = 4194304}),
            "4194304: the request has 12000000 bytes; this server takes at most 4194304: send less, e.g. a "
            "shorter run file");
  EXPECT_EQ(thrown({.address = "a:1", .max_answer_bytes = 1 << 26}),
            "9437184: the request has 12000000 bytes; this server takes at most 9437184: send less, e.g. a "
            "shorter run file");
  EXPECT_EQ(thrown({.address = "a:1", .max_answer_bytes = 9437184}),
            "9437184: the answer of the coordinator at a:1 has 12000000 bytes; this program takes at most "
            "9437184: ask for less at once");
}

TEST(ThrowStatus, SaysThatAServerWithoutAThreadLeftTakesNoMoreCalls) {
  const grpc::Status status(grpc::StatusCode::RESOURCE_EXHAUSTED, "Server Threadpool Exhausted");
  EXPECT_EQ(
      Thrown([&] { ThrowStatus(status, {.address = "a:1"}); }),
      "the coordinator at a:1 takes no more calls at the moment (Server Threadpool Exhausted): try "
      "again later");
}

TEST(Connection, TellsOfAServiceThatIsNotThere) {
  grpc::ServerBuilder builder;
  int port = 0;
  FakeCluster cluster;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&cluster);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  Connection connection({.address = "127.0.0.1:" + std::to_string(port)});
  EXPECT_THAT(Thrown([&] { connection.Call(&v1::JobService::Stub::GetJob, v1::GetJobRequest()); }),
              HasSubstr("no coordinator of syncbn, or one of another version"));
}

v1::WatchJobsResponse Change(int64_t sequence) {
  v1::WatchJobsResponse response;
  response.mutable_change()->mutable_transition()->set_sequence(sequence);
  return response;
}

TEST(WatchJobs, GoesOnFromItsCursorSoThatEveryChangeComesOnce) {
  FakeCoordinator fake;
  fake.jobs.jobs["jobs/17"].set_name("jobs/17");
  fake.jobs.watch.emplace_back().mutable_snapshot()->set_name("jobs/17");
  fake.jobs.watch.emplace_back().mutable_snapshot_end();
  for (int i = 1; i <= 20; ++i) fake.jobs.watch.push_back(Change(i));
  fake.jobs.break_watch_after = 3;
  Connection connection(OptionsFor(fake));
  v1::WatchJobsRequest request;
  request.set_job("jobs/17");
  const auto events = WatchJobs(connection, request);
  std::vector<int64_t> seen;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (seen.size() < 20 && std::chrono::steady_clock::now() < deadline) {
    const auto event = events->Next(std::chrono::milliseconds(100));
    if (event && event->has_change()) seen.push_back(event->change().transition().sequence());
  }
  std::vector<int64_t> all(20);
  for (int i = 0; i < 20; ++i) all[static_cast<size_t>(i)] = i + 1;
  EXPECT_EQ(seen, all);
  std::lock_guard lock(fake.jobs.mutex);
  EXPECT_EQ(fake.jobs.watch_cursors[0], "");
  EXPECT_EQ(fake.jobs.watch_cursors[1], "3");
}

TEST(WatchJobs, FindsACoordinatorThatWasRestarted) {
  FakeCoordinator fake;
  fake.jobs.watch.push_back(Change(1));
  Connection connection(OptionsFor(fake));
  const auto events = WatchJobs(connection, {});
  ASSERT_TRUE(events->Next(std::chrono::seconds(60)));
  fake.Stop();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!events->lost() && std::chrono::steady_clock::now() < deadline) {
    events->Next(std::chrono::milliseconds(20));
  }
  EXPECT_TRUE(events->lost());
  fake.jobs.watch.push_back(Change(2));
  fake.Start();
  const auto event = events->Next(std::chrono::seconds(60));
  ASSERT_TRUE(event);
  EXPECT_EQ(event->change().transition().sequence(), 2);
  EXPECT_FALSE(events->lost());
}

TEST(EventStream, AFaultOfItsReaderReachesTheCallerAndEndsIt) {
  FakeCoordinator fake;
  fake.jobs.watch.push_back(Change(1));
  Connection connection(OptionsFor(fake));
  JobEvents events(connection,
                   {.open = [&](grpc::ClientContext* context) {
                      return connection.stub<v1::JobService::Stub>().WatchJobs(context, {});
                    },
                    .advance = [](const v1::WatchJobsResponse&) {
                      throw Error(ErrorCode::kInternal, "the place cannot be kept");
                    }});
  EXPECT_EQ(Thrown([&] { events.Next(std::chrono::seconds(60)); }), "the place cannot be kept");
  // Its context is gone: there is nothing left to cancel.
  events.Stop();
}

TEST(WatchJobs, OfAJobThatIsNotThereFails) {
  FakeCoordinator fake;
  Connection connection(OptionsFor(fake));
  v1::WatchJobsRequest request;
  request.set_job("jobs/99");
  const auto events = WatchJobs(connection, request);
  EXPECT_EQ(Thrown([&] { events->Next(std::chrono::seconds(60)); }), "there is no jobs/99");
}

TEST(WatchJobs, GivesUpWhereNoCoordinatorEverAnswered) {
  const ClosedPort nobody;
  const std::string& address = nobody.address();
  Connection connection({.address = address});
  const auto events = WatchJobs(connection, {});
  EXPECT_THAT(Thrown([&] { events->Next(std::chrono::seconds(60)); }),
              StartsWith("no coordinator answers at " + address));
}

TEST(FollowLog, BringsEveryByteOnceThroughInterruptions) {
  FakeCoordinator fake;
  std::string log;
  for (int i = 0; i < 200; ++i) log += "0: line " + std::to_string(i) + "\n";
  fake.logs.logs["jobs/17/attempts/1/logs/output"] = log;
  fake.logs.chunk = 500;
  fake.logs.break_after = 2;
  Connection connection(OptionsFor(fake));
  v1::FollowLogRequest request;
  request.set_name("jobs/17/attempts/1/logs/output");
  const auto events = FollowLog(connection, request);
  std::string text;
  while (!events->AtEnd()) {
    const auto event = events->Next(std::chrono::milliseconds(100));
    if (event) text += event->chunk().data();
  }
  EXPECT_EQ(text, log);
}

}  // namespace
}  // namespace syncbn::client
