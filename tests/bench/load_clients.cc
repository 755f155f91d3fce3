#include "tests/bench/load_clients.h"

#include <cstdlib>

#include "tests/bench/load_server.h"

namespace syncbn::bench {

int64_t NowMicroseconds() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

MetricClient::MetricClient(Options options)
    : options_(std::move(options)),
      stub_(v1::WorkerService::NewStub(Connect(options_.address))),
      acknowledged_(options_.first_sequence - 1),
      sent_(options_.first_sequence - 1) {
  Authorize(context_, options_.token);
  stream_ = stub_->ReportMetrics(&context_);
  writer_ = std::thread([this] { Write(); });
  reader_ = std::thread([this] { Read(); });
}

MetricClient::~MetricClient() {
  if (finished_) return;
  context_.TryCancel();
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  room_.notify_all();
  writer_.join();
  reader_.join();
  stream_->Finish();
}

void MetricClient::Write() {
  v1::ReportMetricsRequest request;
  request.mutable_rank()->set_attempt(options_.attempt);
  request.mutable_rank()->set_rank(options_.rank);
  v1::MetricBatch& batch = *request.mutable_batch();
  for (int i = 0; i < kNames; ++i) batch.add_names("train/metric-" + std::to_string(i));
  for (int i = 0; i < options_.batch_points; ++i) {
    batch.add_name_index(i % kNames);
    batch.add_step(0);
    batch.add_value(0);
    batch.add_time_us(0);
  }
  const bool paced = options_.points_per_second > 0;
  const std::chrono::duration<double> interval(
      paced ? options_.batch_points / options_.points_per_second : 0);
  const Clock::time_point start = Clock::now();
  for (int64_t number = 1;; ++number) {
    Clock::time_point due = Clock::now();
    {
      std::unique_lock lock(mutex_);
      if (paced) {
        due = start + std::chrono::duration_cast<Clock::duration>(
                          interval * (static_cast<double>(number) -
                                      0.1 * (options_.rank % 10)));  // not all at once
        room_.wait_until(lock, due, [&] { return stop_; });
      } else {
        room_.wait(lock, [&] {
          return stop_ || static_cast<int>(under_way_.size()) < options_.most_unacknowledged;
        });
        due = Clock::now();
      }
      if (stop_) break;
      under_way_.push_back({sent_ + options_.batch_points, due});
    }
    batch.set_first_sequence(sent_ + 1);
    const int64_t now = NowMicroseconds();
    for (int i = 0; i < options_.batch_points; ++i) {
      const int64_t sequence = sent_ + 1 + i;
      batch.set_step(i, (sequence - 1) / kNames);
      batch.set_value(i, static_cast<double>(sequence));
      batch.set_time_us(i, now);
    }
    sent_ += options_.batch_points;
    if (!stream_->Write(request)) break;
  }
  stream_->WritesDone();
}

void MetricClient::Read() {
  v1::ReportMetricsResponse response;
  while (stream_->Read(&response)) {
    const Clock::time_point now = Clock::now();
    std::lock_guard lock(mutex_);
    acknowledged_ = response.acknowledged();
    while (!under_way_.empty() && under_way_.front().last <= response.acknowledged()) {
      latencies_.push_back(
          std::chrono::duration<double, std::milli>(now - under_way_.front().due).count());
      under_way_.pop_front();
    }
    room_.notify_one();
  }
}

void MetricClient::Finish() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  room_.notify_all();
  writer_.join();
  reader_.join();
  finished_ = true;
  Check(stream_->Finish(), "ReportMetrics of rank " + std::to_string(options_.rank));
  if (acknowledged_ != sent_) {
    throw std::runtime_error("rank " + std::to_string(options_.rank) + " sent " +
                             std::to_string(sent_) + " points, " + std::to_string(acknowledged_) +
                             " were acknowledged");
  }
}

std::vector<double> MetricClient::TakeLatencies() {
  std::lock_guard lock(mutex_);
  return std::exchange(latencies_, {});
}

MetricFollower::MetricFollower(const std::shared_ptr<grpc::Channel>& channel,
                               const std::string& token, const std::string& job, int hold_after)
    : stub_(v1::MetricsService::NewStub(channel)) {
  request_.set_job(job);
  Authorize(context_, token);
  stub_->async()->WatchMetrics(&context_, &request_, this);
  Begin(hold_after);
}

bool MetricFollower::Take(const v1::WatchMetricsResponse& response) {
  if (response.has_end()) return true;
  if (!response.has_update()) return false;
  const v1::MetricBatch& batch = response.update().batch();
  int64_t& seen = seen_[response.update().rank()];
  if (batch.first_sequence() != seen + 1) {
    Fault("rank " + std::to_string(response.update().rank()) + " goes on at " +
          std::to_string(batch.first_sequence()) + " after " + std::to_string(seen));
  }
  for (const double value : batch.value()) {
    if (value != static_cast<double>(++seen)) Fault("a point has the value of another one");
  }
  if (batch.time_us_size() > 0) AddLatency(batch.time_us(batch.time_us_size() - 1));
  return false;
}

std::string MetricFollower::Describe() const {
  std::string text = "WatchMetrics";
  for (const auto& [rank, last] : seen_)
    text += ", rank " + std::to_string(rank) + " up to " + std::to_string(last);
  return text;
}

JobFollower::JobFollower(const std::shared_ptr<grpc::Channel>& channel, const std::string& token,
                         const std::string& job)
    : stub_(v1::JobService::NewStub(channel)) {
  request_.set_job(job);
  Authorize(context_, token);
  stub_->async()->WatchJobs(&context_, &request_, this);
  Begin();
}

bool JobFollower::Take(const v1::WatchJobsResponse& response) {
  if (!response.has_change()) return false;
  const v1::JobChange& change = response.change();
  if (change.has_transition()) {
    if (!transitions_.empty() && change.transition().sequence() <= transitions_.back())
      Fault("a transition came twice");
    transitions_.push_back(change.transition().sequence());
    return change.transition().to_state() == v1::Job::SUCCEEDED;
  }
  return false;
}

std::string JobFollower::Describe() const {
  return "WatchJobs, " + std::to_string(transitions_.size()) + " transitions";
}

LogFollower::LogFollower(const std::shared_ptr<grpc::Channel>& channel, const std::string& token,
                         const std::string& log)
    : stub_(v1::LogService::NewStub(channel)) {
  request_.set_name(log);
  Authorize(context_, token);
  stub_->async()->FollowLog(&context_, &request_, this);
  Begin();
}

bool LogFollower::Take(const v1::FollowLogResponse& response) {
  if (!response.has_chunk()) return false;
  const v1::LogChunk& chunk = response.chunk();
  if (!chunk.data().empty()) {
    text_ += chunk.data();
    const size_t at = chunk.data().rfind(" at ");
    if (at != std::string::npos) AddLatency(std::atoll(chunk.data().c_str() + at + 4));
  }
  return chunk.end();
}

std::string LogFollower::Describe() const {
  return "FollowLog, " + std::to_string(text_.size()) + " bytes";
}

}  // namespace syncbn::bench
