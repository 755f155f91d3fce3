#include "report/metric_sender.h"

#include "report/metric_stream.h"

namespace syncbn::report {
namespace {

using std::chrono::milliseconds;

// Pauses at the end of the run are no longer than the first of these.
// A stream that has nothing to carry is closed, so that a thousand idle ranks cost the coordinator
// nothing.
constexpr milliseconds kLastPause = milliseconds(500);
constexpr milliseconds kIdle = std::chrono::seconds(30);

}  // namespace

MetricSender::MetricSender(Connection& connection, Outbox& outbox, int64_t acknowledged,
                           Options options)
    : connection_(connection),
      outbox_(outbox),
      options_(std::move(options)),
      acknowledged_(acknowledged) {
  outbox_.Acknowledge(acknowledged);
  thread_ = std::thread([this] { Loop(); });
}

MetricSender::~MetricSender() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    if (stream_) stream_->Cancel();
  }
  wake_.notify_all();
  outbox_.Wake();
  thread_.join();
}

bool MetricSender::stopping() const {
  std::lock_guard lock(mutex_);
  return stop_;
}

void MetricSender::ShortenRetryPauses() {
  {
    std::lock_guard lock(mutex_);
    retries_soon_ = true;
  }
  wake_.notify_all();
}

bool MetricSender::Sleep(milliseconds time) {
  std::unique_lock lock(mutex_);
  if (!wake_.wait_for(lock, time, [&] { return stop_ || retries_soon_; })) return true;
  return !wake_.wait_for(lock, std::min(time, kLastPause), [&] { return stop_; });
}

void MetricSender::Loop() {
  Backoff backoff(options_.settings);
  while (!stopping()) {
    if (!outbox_.WaitForPoints(acknowledged_, kIdle)) {
      std::unique_ptr<MetricStream> idle;
      std::lock_guard lock(mutex_);
      idle = std::move(stream_);
      continue;
    }
    switch (SendNext()) {
      case Step::kGoOn:
        backoff.Reset();
        break;
      case Step::kFailed:
        options_.on_failure();
        if (!Sleep(backoff.Next())) return;
        break;
      case Step::kSuperseded:
        options_.on_superseded();
        return;
    }
  }
}

MetricSender::Step MetricSender::SendNext() {
  std::optional<v1::MetricBatch> batch = outbox_.After(acknowledged_);
  if (!batch) return Step::kGoOn;
  const int64_t found_lost = CloseGap(*batch, acknowledged_);
  const int64_t last = LastSequence(*batch);
  {
    std::lock_guard lock(mutex_);
    if (stop_) return Step::kGoOn;
    if (!stream_) stream_ = std::make_unique<MetricStream>(connection_, options_.rank);
  }
  // Only this thread replaces it, so it may be used without the lock.
  MetricStream& stream = *stream_;
  // Storing a batch may wait for others' batches.
  const milliseconds time = options_.settings.call_time * 3;
  bool well = stream.Send(*std::move(batch), time);
  while (well) {
    const std::optional<int64_t> answer = stream.Receive(time);
    if (!answer) break;
    if (*answer == acknowledged_) continue;  // said twice: the answer to this batch is still to come
    // Less than before: the coordinator has lost what it had (its store was restored). It gets what
    // is still here, and is told how much is not.
    acknowledged_ = *answer;
    outbox_.Acknowledge(acknowledged_);
    if (acknowledged_ >= last) outbox_.AddLost(found_lost);
    last_warning_.clear();
    return Step::kGoOn;
  }
  const grpc::Status status = stream.Finish();
  std::unique_ptr<MetricStream> failed;
  {
    std::lock_guard lock(mutex_);
    failed = std::move(stream_);
    if (stop_) return Step::kGoOn;
  }
  return Explain(status);
}

MetricSender::Step MetricSender::Explain(const grpc::Status& status) {
  if (IsSuperseded(status)) return Step::kSuperseded;
  // An absent coordinator is no news to anybody who looks at this process.
  const bool absent = connection_.IsAbsence(status);
  if (!absent && options_.on_warning) {
    const std::string warning = "the coordinator does not take metrics: " + Describe(status) +
                                "; they are kept and sent again";
    if (warning != last_warning_) options_.on_warning(warning);
    last_warning_ = warning;
  }
  return Step::kFailed;
}

}  // namespace syncbn::report
