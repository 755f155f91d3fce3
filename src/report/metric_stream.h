// One ReportMetrics call: batches up, acknowledgements down, every wait with a deadline.
#pragma once

#include <optional>

#include "report/connection.h"

namespace syncbn::report {

// Used by one thread; Cancel from any.
class MetricStream {
 public:
  MetricStream(Connection& connection, const v1::RankName& rank);
  ~MetricStream();
  MetricStream(const MetricStream&) = delete;
  MetricStream& operator=(const MetricStream&) = delete;

  // Sends a batch; false when the stream has failed.
  bool Send(v1::MetricBatch batch, std::chrono::milliseconds time);
  // The next acknowledgement; nothing when the stream has failed.
  std::optional<int64_t> Receive(std::chrono::milliseconds time);
  // Why it failed. Call after a failure only.
  grpc::Status Finish();
  // Makes every wait end.
  void Cancel() { context_.TryCancel(); }

 private:
  // Waits for the operation under way.
  bool Wait(std::chrono::milliseconds time);

  const v1::RankName rank_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<v1::ReportMetricsRequest, v1::ReportMetricsResponse>>
      call_;
  bool started_ = false, named_ = false, timed_out_ = false, finished_ = false;
  bool over_ = false;      // the call has ended, or was made to
  bool all_read_ = false;  // no answer will come
};

}  // namespace syncbn::report
