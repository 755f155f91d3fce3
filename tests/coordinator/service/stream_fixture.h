// A server with a store in which streams can be watched, and the hands that change it.
#pragma once

#include <gtest/gtest.h>

#include <fstream>

#include "coordinator/launch/attempt_folder.h"
#include "tests/coordinator/service/service_fixture.h"

namespace syncbn::coordinator {

class StreamTest : public ::testing::Test {
 protected:
  void Start() {
    server.Start();
    channel = server.Channel();
    jobs = v1::JobService::NewStub(channel);
    metrics = v1::MetricsService::NewStub(channel);
    logs = v1::LogService::NewStub(channel);
  }
  // A transition that changes nothing but the history.
  void Note(int64_t job, const std::string& reason) {
    server.store.Write([&](Tables& tables) {
      tables.jobs.Update(job, tables.jobs.Get(job).status, {"test", "NOTE", reason}, kTestNow);
    });
  }
  void Finish(int64_t job) {
    server.store.Write([&](Tables& tables) {
      JobStatus status = tables.jobs.Get(job).status;
      status.state = JobState::kSucceeded;
      tables.jobs.Update(job, status, {"test", "ENDED", ""}, kTestNow);
    });
  }
  void AddPoints(int64_t job, int64_t first, int count) {
    server.store.Write([&](Tables& tables) {
      tables.metrics.Insert({job, 1, 0}, TestBatch(first, count), kTestNow);
    });
  }
  std::filesystem::path LogFile(AttemptId id) {
    const auto folder = server.store.folder() / AttemptName(id.job, id.attempt);
    std::filesystem::create_directories(folder);
    return AttemptFolder(folder).output_log();
  }
  static void Append(const std::filesystem::path& file, const std::string& text) {
    std::ofstream(file, std::ios::app) << text << std::flush;
  }
  TestServer server;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::JobService::Stub> jobs;
  std::unique_ptr<v1::MetricsService::Stub> metrics;
  std::unique_ptr<v1::LogService::Stub> logs;
};

}  // namespace syncbn::coordinator
