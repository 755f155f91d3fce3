// A server with clients of its services, and what tests of its door ask.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/coordinator/service/service_fixture.h"

namespace syncbn::coordinator {

class ServerTest : public ::testing::Test {
 protected:
  void Start(bool serving = true) {
    server.Start(serving);
    channel = server.Channel();
    jobs = v1::JobService::NewStub(channel);
    admin = v1::AdminService::NewStub(channel);
    worker = v1::WorkerService::NewStub(channel);
    metrics = v1::MetricsService::NewStub(channel);
  }
  std::string Get(const std::string& name, const std::string& token = "") {
    Context context(token);
    v1::GetJobRequest request;
    request.set_name(name);
    v1::Job job;
    return Say(jobs->GetJob(&context, request, &job));
  }
  std::string Cancel(const std::string& name, const std::string& token = "") {
    Context context(token);
    v1::CancelJobRequest request;
    request.set_name(name);
    v1::Job job;
    return Say(jobs->CancelJob(&context, request, &job));
  }
  std::string Revoke(const std::string& name, const std::string& token) {
    Context context(token);
    v1::RevokeTokenRequest request;
    request.set_name(name);
    google::protobuf::Empty empty;
    return Say(admin->RevokeToken(&context, request, &empty));
  }
  std::string Beat(const std::string& attempt, const std::string& token) {
    Context context(token);
    v1::HeartbeatRequest request;
    request.mutable_rank()->set_attempt(attempt);
    v1::HeartbeatResponse response;
    return Say(worker->Heartbeat(&context, request, &response));
  }
  std::vector<AuditRecord> Audit() {
    return server.store.Read([](Tables& tables) { return tables.audit.List(INT64_MAX, 1000); });
  }

  TestServer server;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::JobService::Stub> jobs;
  std::unique_ptr<v1::AdminService::Stub> admin;
  std::unique_ptr<v1::WorkerService::Stub> worker;
  std::unique_ptr<v1::MetricsService::Stub> metrics;
};

// Calls any method with these bytes as its message, and shows `token`, if that is given; `answered`
// becomes the bytes of its first answer.
inline grpc::Status CallWith(const std::shared_ptr<grpc::Channel>& channel,
                             const std::string& method, const std::string& bytes,
                             const std::string& token = "", std::string* answered = nullptr) {
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  Context context(token);
  auto call = stub.PrepareCall(&context, method, &queue);
  void* tag = nullptr;
  bool ok = false;
  auto wait = [&] { ASSERT_TRUE(queue.Next(&tag, &ok)); };
  call->StartCall(nullptr);
  wait();
  grpc::Slice slice(bytes);
  grpc::ByteBuffer message(&slice, 1), answer;
  call->WriteLast(message, {}, nullptr);
  wait();
  call->Read(&answer, nullptr);
  wait();
  if (ok && answered != nullptr) {
    std::vector<grpc::Slice> slices;
    answer.Dump(&slices);
    answered->clear();
    for (const grpc::Slice& slice : slices) answered->append(slice.begin(), slice.end());
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
  return status;
}

inline grpc::Status CallEmpty(const std::shared_ptr<grpc::Channel>& channel,
                              const std::string& method, std::string* answered = nullptr) {
  return CallWith(channel, method, "", "", answered);
}

}  // namespace syncbn::coordinator
