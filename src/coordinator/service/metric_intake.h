// WorkerService.ReportMetrics: one stream for each rank, thousands of them in a large job. A stream
// costs a thread only while a batch of its is being stored; batches that have come wait for one of
// a few threads, and as each stream has one under way at most, so does what is held of them.
//
// Thread-safe. Outlives the server whose streams it serves.
#pragma once

#include <atomic>

#include "coordinator/control/controller.h"
#include "coordinator/control/keyed_pool.h"
#include "coordinator/service/call_gate.h"
#include "syncbn/v1/worker.grpc.pb.h"

namespace syncbn::coordinator {

class MetricIntake {
 public:
  // As many batches go into one commit of the store as there are threads.
  MetricIntake(Controller& controller, CallGate& gate, int threads = 32);

  // What the handler returns. INVALID_ARGUMENT (MESSAGE_INVALID) for bytes that are no message.
  grpc::ServerBidiReactor<v1::ReportMetricsRequest, v1::ReportMetricsResponse>* Take(
      grpc::CallbackServerContext& context);

 private:
  class Stream;

  Controller& controller_;
  CallGate& gate_;
  std::atomic<int64_t> next_ = 1;
  // Last: its tasks use everything above.
  KeyedPool pool_;
};

}  // namespace syncbn::coordinator
