#include "client/watches.h"

namespace syncbn::client {

std::unique_ptr<JobEvents> WatchJobs(Connection& connection, v1::WatchJobsRequest request) {
  auto state = std::make_shared<v1::WatchJobsRequest>(std::move(request));
  return std::make_unique<JobEvents>(
      connection,
      JobEvents::Source{
          .open = [&connection, state](grpc::ClientContext* context) {
            return connection.stub<v1::JobService::Stub>().WatchJobs(context, *state);
          },
          .advance = [state](const v1::WatchJobsResponse& response) {
            if (!response.cursor().empty()) state->set_cursor(response.cursor());
          },
          .restart = [state] { state->clear_cursor(); }});
}

std::unique_ptr<LogEvents> FollowLog(Connection& connection, v1::FollowLogRequest request) {
  auto state = std::make_shared<v1::FollowLogRequest>(std::move(request));
  return std::make_unique<LogEvents>(
      connection,
      LogEvents::Source{
          .open = [&connection, state](grpc::ClientContext* context) {
            return connection.stub<v1::LogService::Stub>().FollowLog(context, *state);
          },
          .advance = [state](const v1::FollowLogResponse& response) {
            if (response.has_chunk()) state->set_offset(response.chunk().next_offset());
          },
          .restart = nullptr,
          .ends = true});
}

std::unique_ptr<MetricEvents> WatchMetrics(Connection& connection, v1::WatchMetricsRequest request) {
  auto state = std::make_shared<v1::WatchMetricsRequest>(std::move(request));
  return std::make_unique<MetricEvents>(
      connection,
      MetricEvents::Source{
          .open = [&connection, state](grpc::ClientContext* context) {
            return connection.stub<v1::MetricsService::Stub>().WatchMetrics(context, *state);
          },
          .advance = [state](const v1::WatchMetricsResponse& response) {
            if (!response.cursor().empty()) state->set_cursor(response.cursor());
          },
          .restart = nullptr,
          .ends = true});
}

}  // namespace syncbn::client
