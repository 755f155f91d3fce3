// The load itself: ranks that report metric points, and followers of a job.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "syncbn/v1/job.grpc.pb.h"
#include "syncbn/v1/log.grpc.pb.h"
#include "syncbn/v1/metrics.grpc.pb.h"
#include "syncbn/v1/worker.grpc.pb.h"

namespace syncbn::bench {

int64_t NowMicroseconds();

// One rank's stream of metric points, whose value is their sequence. At a given rate each batch is
// due at its time whatever became of the one before, and its latency counts from there.
class MetricClient {
 public:
  struct Options {
    std::string address, token, attempt;
    int rank = 0;
    int64_t first_sequence = 1;
    int batch_points = 1000;
    // 0: as fast as `most_unacknowledged` batches under way allow.
    double points_per_second = 0;
    int most_unacknowledged = 8;
  };
  static constexpr int kNames = 10;

  explicit MetricClient(Options options);
  ~MetricClient();

  // Sends nothing more and waits until everything is acknowledged; throws if it is not.
  void Finish();
  int64_t acknowledged() const { return acknowledged_; }
  // Milliseconds until the acknowledgement of each batch since the last call.
  std::vector<double> TakeLatencies();

 private:
  using Clock = std::chrono::steady_clock;
  struct UnderWay {
    int64_t last;
    Clock::time_point due;
  };

  void Write();
  void Read();

  Options options_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ReportMetricsRequest, v1::ReportMetricsResponse>>
      stream_;
  std::atomic<int64_t> acknowledged_;
  int64_t sent_;
  std::mutex mutex_;
  std::condition_variable room_;
  std::deque<UnderWay> under_way_;
  std::vector<double> latencies_;
  bool stop_ = false, broken_ = false, finished_ = false;
  std::thread writer_, reader_;
};

// A stream that is read by callback. Subclasses look at each response.
template <typename Response>
class Follower : public grpc::ClientReadReactor<Response> {
 public:
  // Lets a slow client read on.
  void Release() {
    std::lock_guard lock(mutex_);
    hold_after_ = -1;
    if (std::exchange(held_, false)) this->StartRead(&response_);
  }
  // Waits until it has seen all that it expects; throws with what is missing at the deadline.
  void WaitUntilComplete(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, deadline, [&] { return complete_ || done_; });
    if (!fault_.empty()) throw std::runtime_error("a follower saw something wrong: " + fault_);
    if (!complete_) throw std::runtime_error("a follower did not get everything: " + Describe());
  }
  std::vector<double> TakeLatencies() {
    std::lock_guard lock(mutex_);
    return std::exchange(latencies_, {});
  }
  int64_t responses() const { return responses_; }

 protected:
  // Of every destructor below: afterwards no callback comes.
  void Close() {
    context_.TryCancel();
    Release();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_; });
  }
  // True when this was the last it expects. mutex() is held.
  virtual bool Take(const Response& response) = 0;
  virtual std::string Describe() const = 0;

  // A slow client reads nothing after `hold_after` responses.
  void Begin(int hold_after = -1) {
    hold_after_ = hold_after;
    this->StartRead(&response_);
    this->StartCall();
  }
  void Fault(const std::string& what) {
    if (fault_.empty()) fault_ = what;
  }
  void AddLatency(int64_t since_us) {
    latencies_.push_back(static_cast<double>(NowMicroseconds() - since_us) / 1000);
  }
  grpc::ClientContext context_;

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return;
    std::lock_guard lock(mutex_);
    ++responses_;
    if (!complete_ && Take(response_)) complete_ = true;
    if (complete_) changed_.notify_all();
    if (hold_after_ >= 0 && responses_ >= hold_after_) {
      held_ = true;
    } else {
      this->StartRead(&response_);
    }
  }
  void OnDone(const grpc::Status& status) override {
    std::lock_guard lock(mutex_);
    if (!status.ok() && !complete_) Fault(status.error_message());
    done_ = true;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Response response_;
  std::vector<double> latencies_;
  std::string fault_;
  std::atomic<int64_t> responses_ = 0;
  int hold_after_ = -1;
  bool held_ = false, complete_ = false, done_ = false;
};

// Expects every point of every rank once and in order, and the end. A user's token.
class MetricFollower final : public Follower<v1::WatchMetricsResponse> {
 public:
  MetricFollower(const std::shared_ptr<grpc::Channel>& channel, const std::string& token,
                 const std::string& job, int hold_after = -1);
  ~MetricFollower() override { Close(); }
  // Highest sequence of each rank.
  const std::map<int, int64_t>& seen() const { return seen_; }

 private:
  bool Take(const v1::WatchMetricsResponse& response) override;
  std::string Describe() const override;

  std::unique_ptr<v1::MetricsService::Stub> stub_;
  v1::WatchMetricsRequest request_;
  std::map<int, int64_t> seen_;
};

// Expects a snapshot, and transitions until the job has succeeded.
class JobFollower final : public Follower<v1::WatchJobsResponse> {
 public:
  JobFollower(const std::shared_ptr<grpc::Channel>& channel, const std::string& token,
              const std::string& job);
  ~JobFollower() override { Close(); }
  // Numbers of the transitions it saw.
  const std::vector<int64_t>& transitions() const { return transitions_; }

 private:
  bool Take(const v1::WatchJobsResponse& response) override;
  std::string Describe() const override;

  std::unique_ptr<v1::JobService::Stub> stub_;
  v1::WatchJobsRequest request_;
  std::vector<int64_t> transitions_;
};

// Expects a log without gaps, and its end.
class LogFollower final : public Follower<v1::FollowLogResponse> {
 public:
  LogFollower(const std::shared_ptr<grpc::Channel>& channel, const std::string& token,
              const std::string& log);
  ~LogFollower() override { Close(); }
  const std::string& text() const { return text_; }

 private:
  bool Take(const v1::FollowLogResponse& response) override;
  std::string Describe() const override;

  std::unique_ptr<v1::LogService::Stub> stub_;
  v1::FollowLogRequest request_;
  std::string text_;
};

}  // namespace syncbn::bench
