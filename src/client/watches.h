// The streams of the API, each with what is needed to go on after an interruption.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/event_stream.h"

namespace syncbn::client {

using JobEvents = EventStream<v1::WatchJobsResponse>;
using LogEvents = EventStream<v1::FollowLogResponse>;
using MetricEvents = EventStream<v1::WatchMetricsResponse>;

// One job (`request.job`) or those of a filter: a snapshot, then every change. After an interruption
// the changes since then follow; where those are no longer kept, a new snapshot.
std::unique_ptr<JobEvents> WatchJobs(Connection& connection, v1::WatchJobsRequest request);

// A log from `request.offset` on, each byte once. Ends when the attempt has ended.
std::unique_ptr<LogEvents> FollowLog(Connection& connection, v1::FollowLogRequest request);

// Batches of metrics, each once. After the response with `end` no more come.
std::unique_ptr<MetricEvents> WatchMetrics(Connection& connection, v1::WatchMetricsRequest request);

}  // namespace syncbn::client
