#include "report/metric_stream.h"

namespace syncbn::report {
namespace {

using std::chrono::milliseconds;

// An operation that was cancelled ends at once; this is for a bug in a library.
constexpr milliseconds kCancelled = std::chrono::seconds(5);

}  // namespace

MetricStream::MetricStream(Connection& connection, const v1::RankName& rank) : rank_(rank) {
  connection.Prepare(context_);
  call_ = connection.stub().PrepareAsyncReportMetrics(&context_, &queue_);
}

MetricStream::~MetricStream() {
  if (started_) Finish();
  queue_.Shutdown();
  void* tag;
  bool ok;
  while (queue_.Next(&tag, &ok)) {
  }
}

bool MetricStream::Wait(milliseconds time) {
  void* tag = nullptr;
  bool ok = false;
  auto deadline = std::chrono::system_clock::now() + time;
  if (queue_.AsyncNext(&tag, &ok, deadline) == grpc::CompletionQueue::GOT_EVENT) return ok;
  timed_out_ = true;
  context_.TryCancel();
  deadline = std::chrono::system_clock::now() + kCancelled;
  queue_.AsyncNext(&tag, &ok, deadline);
  return false;
}

bool MetricStream::Send(v1::MetricBatch batch, milliseconds time) {
  if (!started_) {
    started_ = true;
    call_->StartCall(this);
    over_ = !Wait(time);
    if (over_) return false;
  }
  v1::ReportMetricsRequest request;
  if (!std::exchange(named_, true)) *request.mutable_rank() = rank_;
  *request.mutable_batch() = std::move(batch);
  call_->Write(request, this);
  over_ = !Wait(time);
  return !over_;
}

std::optional<int64_t> MetricStream::Receive(milliseconds time) {
  v1::ReportMetricsResponse response;
  call_->Read(&response, this);
  all_read_ = over_ = !Wait(time);
  if (over_) return std::nullopt;
  return response.acknowledged();
}

grpc::Status MetricStream::Finish() {
  if (std::exchange(finished_, true)) return grpc::Status::OK;
  if (over_) {
    // The other side has ended it, and says why behind its last answer.
    while (!all_read_ && Receive(kCancelled)) {
    }
  } else {
    context_.TryCancel();  // given up between two batches
  }
  grpc::Status status;
  call_->Finish(&status, this);
  Wait(kCancelled);
  if (timed_out_) return {grpc::StatusCode::DEADLINE_EXCEEDED, "no answer in time"};
  return status;
}

}  // namespace syncbn::report
