// MetricsService (proto/syncbn/v1/metrics.proto): series, queries, and streams of batches.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "coordinator/service/follow.h"
#include "coordinator/store/store.h"
#include "syncbn/v1/metrics.grpc.pb.h"

namespace syncbn::coordinator {

// Reads batches once for all who stand at the same place, and looks for new ones once for all who
// wait. Made before its followers subscribe to changes: it must hear of a change first. Thread-safe.
class BatchReader {
 public:
  using Batches = std::shared_ptr<const std::vector<MetricTable::StoredBatch>>;

  explicit BatchReader(Store& store);

  // A few of the batches after `after`, oldest first; none when there are none now.
  Batches After(int64_t job, int64_t after);

 private:
  struct Kept {
    int64_t job;
    int64_t after;
    uint64_t changes;  // when it was read
    Batches batches;
  };

  Store& store_;
  std::atomic<uint64_t> changes_ = 0;
  std::mutex mutex_;
  std::deque<Kept> kept_;
  // Last: its listener uses what stands above.
  ChangeFeed::Subscription subscription_;
};

class MetricsService final
    : public v1::MetricsService::WithCallbackMethod_WatchMetrics<v1::MetricsService::Service> {
 public:
  // All outlive the service.
  MetricsService(Store& store, CallGate& gate, FollowerPool& pool)
      : store_(store), gate_(gate), pool_(pool), reader_(store) {}

  grpc::Status ListSeries(grpc::ServerContext* context, const v1::ListSeriesRequest* request,
                          v1::ListSeriesResponse* response) override;
  grpc::Status QueryMetrics(grpc::ServerContext* context, const v1::QueryMetricsRequest* request,
                            v1::QueryMetricsResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchMetricsResponse>* WatchMetrics(
      grpc::CallbackServerContext* context, const v1::WatchMetricsRequest* request) override;

 private:
  Store& store_;
  CallGate& gate_;
  FollowerPool& pool_;
  BatchReader reader_;
};

}  // namespace syncbn::coordinator
