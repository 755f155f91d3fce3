// A coordinator of the tests: WorkerService in this process, with the faults that a network and a
// real one can have.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "report/metric_batches.h"
#include "syncbn/v1/error.pb.h"
#include "syncbn/v1/worker.grpc.pb.h"

namespace syncbn {

struct HeardPoint {
  std::string name;
  int64_t step = 0;
  double value = 0;
  bool operator==(const HeardPoint&) const = default;
};

// What it has heard outlives its server: Start and Kill as often as wanted.
class FakeCoordinator : public v1::WorkerService::Service {
 public:
  struct Rank {
    // By sequence, as stored.
    std::map<int64_t, HeardPoint> points;
    int64_t acknowledged = 0, lost = 0;
    int registrations = 0, heartbeats = 0;
    v1::RegisterRequest registered;
    std::vector<v1::HeartbeatRequest> beats;
    std::vector<v1::RankExit> exits;
    std::string authorization;
  };

  ~FakeCoordinator() override { Kill(); }

  // On a free port the first time, on the same one later.
  void Start() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port_),
                             credentials, &port_);
    builder.RegisterService(this);
    ForgetRegistrations();
    server_ = builder.BuildAndStart();
  }
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
  // Ends every call under way.
  void Kill() {
    if (server_) server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }
  // As one whose store was restored, to a rank whose connection was made anew before it looked at it.
  void ForgetRegistrations() {
    std::lock_guard lock(mutex_);
    known_.clear();
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  Rank rank(int rank) const {
    std::lock_guard lock(mutex_);
    const auto found = ranks_.find(rank);
    return found == ranks_.end() ? Rank() : found->second;
  }
  // Waits until the condition holds for a rank; false after a generous time.
  template <typename Condition>
  bool WaitFor(int rank, Condition&& condition, int seconds = 30) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(seconds),
                             [&] { return condition(ranks_[rank]); });
  }
  void Restore(int rank, int64_t acknowledged) {
    std::lock_guard lock(mutex_);
    Rank& one = ranks_[rank];
    one.acknowledged = acknowledged;
    one.points.erase(one.points.upper_bound(acknowledged), one.points.end());
  }

  std::atomic<v1::Job::DesiredState> desired{v1::Job::RUN};
  std::atomic<bool> superseded{false};
  std::atomic<int> heartbeat_ms{50};
  // While it is set, no batch is answered.
  std::atomic<bool> silent{false};
  std::atomic<int> answers_per_batch{1};
  // The stream fails with SEQUENCE_GAP for this many batches to come.
  std::atomic<int> gaps_to_claim{0};
  // Streams are cut after this many more batches were stored, before they are acknowledged; -1: never.
  std::atomic<int> cut_after{-1};

 private:
  grpc::Status Register(grpc::ServerContext* context, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override {
    if (superseded) return Failure(grpc::StatusCode::ABORTED, "ATTEMPT_SUPERSEDED");
    std::lock_guard lock(mutex_);
    Rank& rank = ranks_[request->rank().rank()];
    ++rank.registrations;
    known_.insert(request->rank().rank());
    rank.registered = *request;
    const auto found = context->client_metadata().find("authorization");
    if (found != context->client_metadata().end()) {
      rank.authorization = {found->second.data(), found->second.size()};
    }
    response->set_acknowledged(rank.acknowledged);
    response->mutable_heartbeat_interval()->set_nanos(heartbeat_ms * 1'000'000);
    changed_.notify_all();
    return grpc::Status::OK;
  }
  grpc::Status Heartbeat(grpc::ServerContext*, const v1::HeartbeatRequest* request,
                         v1::HeartbeatResponse* response) override {
    if (superseded) return Failure(grpc::StatusCode::ABORTED, "ATTEMPT_SUPERSEDED");
    std::lock_guard lock(mutex_);
    Rank& rank = ranks_[request->rank().rank()];
    ++rank.heartbeats;
    rank.beats.push_back(*request);
    response->set_desired_state(desired);
    response->set_register_again(!known_.contains(request->rank().rank()));
    response->mutable_heartbeat_interval()->set_nanos(heartbeat_ms * 1'000'000);
    changed_.notify_all();
    return grpc::Status::OK;
  }
  grpc::Status ReportMetrics(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::ReportMetricsResponse, v1::ReportMetricsRequest>* stream)
      override {
    v1::ReportMetricsRequest request;
    int number = -1;
    while (stream->Read(&request)) {
      if (number < 0) number = request.rank().rank();
      if (superseded) return Failure(grpc::StatusCode::ABORTED, "ATTEMPT_SUPERSEDED");
      if (gaps_to_claim.fetch_sub(1) > 0) {
        return Failure(grpc::StatusCode::FAILED_PRECONDITION, "SEQUENCE_GAP");
      }
      if (request.batch().ByteSizeLong() > report::kLargestBatch) {
        return Failure(grpc::StatusCode::INVALID_ARGUMENT, "TOO_LARGE");
      }
      while (silent && !context->IsCancelled()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
      v1::ReportMetricsResponse response;
      response.set_acknowledged(Store(number, request.batch()));
      if (cut_after.load() >= 0 && cut_after.fetch_sub(1) == 0) {
        return {grpc::StatusCode::UNAVAILABLE, "cut"};
      }
      for (int i = 0; i < answers_per_batch; ++i) {
        if (!stream->Write(response)) return grpc::Status::OK;
      }
    }
    return grpc::Status::OK;
  }
  grpc::Status ReportExit(grpc::ServerContext*, const v1::ReportExitRequest* request,
                          v1::ReportExitResponse*) override {
    if (superseded) return Failure(grpc::StatusCode::ABORTED, "ATTEMPT_SUPERSEDED");
    std::lock_guard lock(mutex_);
    ranks_[request->rank().rank()].exits.push_back(request->exit());
    changed_.notify_all();
    return grpc::Status::OK;
  }

  // As the store does: in order, once.
  int64_t Store(int number, const v1::MetricBatch& batch) {
    std::lock_guard lock(mutex_);
    Rank& rank = ranks_[number];
    const int64_t last = report::LastSequence(batch);
    if (last <= rank.acknowledged ||
        batch.first_sequence() - batch.lost_before() > rank.acknowledged + 1) {
      return rank.acknowledged;
    }
    rank.lost += std::max<int64_t>(0, batch.first_sequence() - rank.acknowledged - 1);
    for (int i = 0; i < batch.name_index_size(); ++i) {
      const int64_t sequence = batch.first_sequence() + i;
      if (sequence <= rank.acknowledged) continue;
      rank.points[sequence] = {batch.names(batch.name_index(i)), batch.step(i), batch.value(i)};
    }
    rank.acknowledged = last;
    changed_.notify_all();
    return last;
  }

  static grpc::Status Failure(grpc::StatusCode code, const std::string& reason) {
    v1::ErrorInfo info;
    info.set_reason(reason);
    info.set_domain("syncbn");
    v1::ErrorStatus details;
    details.set_code(static_cast<int>(code));
    details.add_details()->PackFrom(info);
    return {code, reason, details.SerializeAsString()};
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, Rank> ranks_;
  std::set<int> known_;  // to the server that runs
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace syncbn
