#include "tests/client/fake_coordinator.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <thread>

namespace syncbn {

grpc::Status ApiStatus(grpc::StatusCode code, const std::string& reason, const std::string& message,
                       const std::map<std::string, std::string>& metadata,
                       const v1::RunFileErrors* errors) {
  v1::ErrorStatus status;
  status.set_code(code);
  status.set_message(message);
  v1::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("syncbn");
  for (const auto& [key, value] : metadata) (*info.mutable_metadata())[key] = value;
  status.add_details()->PackFrom(info);
  if (errors != nullptr) status.add_details()->PackFrom(*errors);
  return grpc::Status(code, message, status.SerializeAsString());
}

google::protobuf::Timestamp SecondsAgo(double seconds) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  google::protobuf::Timestamp time;
  time.set_seconds(std::chrono::duration_cast<std::chrono::seconds>(now).count() -
                   std::llround(seconds));
  return time;
}

grpc::Status FakeJobs::TakeFailure(grpc::ServerContext* context) {
  const auto& metadata = context->client_metadata();
  const auto token = metadata.find("authorization");
  authorizations.emplace_back(token == metadata.end()
                                  ? ""
                                  : std::string(token->second.data(), token->second.size()));
  if (failures.empty()) return grpc::Status::OK;
  const grpc::Status failure = failures.front();
  failures.erase(failures.begin());
  return failure;
}

grpc::Status FakeJobs::Find(const std::string& name, v1::Job* job) {
  const auto found = jobs.find(name);
  if (found == jobs.end()) {
    return ApiStatus(grpc::StatusCode::NOT_FOUND, "JOB_NOT_FOUND", "there is no " + name);
  }
  *job = found->second;
  return grpc::Status::OK;
}

grpc::Status FakeJobs::CreateJob(grpc::ServerContext* context, const v1::CreateJobRequest* request,
                                 v1::Job* job) {
  std::lock_guard lock(mutex);
  created.push_back(*request);
  if (const grpc::Status failure = TakeFailure(context); !failure.ok()) return failure;
  *job = request->job();
  job->set_name("jobs/17");
  job->set_display_name("shapes-demo");
  job->set_state(v1::Job::QUEUED);
  return grpc::Status::OK;
}

grpc::Status FakeJobs::GetJob(grpc::ServerContext*, const v1::GetJobRequest* request, v1::Job* job) {
  std::lock_guard lock(mutex);
  return Find(request->name(), job);
}

grpc::Status FakeJobs::ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                                v1::ListJobsResponse* response) {
  std::lock_guard lock(mutex);
  listed.push_back(*request);
  if (const grpc::Status failure = TakeFailure(context); !failure.ok()) return failure;
  std::vector<v1::Job> newest_first;
  for (const auto& [name, job] : jobs) newest_first.push_back(job);
  std::sort(newest_first.begin(), newest_first.end(), [](const v1::Job& a, const v1::Job& b) {
    return std::stoi(a.name().substr(5)) > std::stoi(b.name().substr(5));
  });
  size_t at = request->page_token().empty() ? 0 : std::stoul(request->page_token());
  const size_t size = std::max(1, request->page_size());
  for (; at < newest_first.size() && response->jobs_size() < static_cast<int>(size); ++at) {
    *response->add_jobs() = newest_first[at];
  }
  if (at < newest_first.size()) response->set_next_page_token(std::to_string(at));
  return grpc::Status::OK;
}

grpc::Status FakeJobs::CancelJob(grpc::ServerContext* context, const v1::CancelJobRequest* request,
                                 v1::Job* job) {
  std::lock_guard lock(mutex);
  cancelled.push_back(*request);
  if (const grpc::Status failure = TakeFailure(context); !failure.ok()) return failure;
  if (const grpc::Status status = Find(request->name(), job); !status.ok()) return status;
  job->set_state(v1::Job::CANCELLING);
  return grpc::Status::OK;
}

grpc::Status FakeJobs::ResumeJob(grpc::ServerContext* context, const v1::ResumeJobRequest* request,
                                 v1::Job* job) {
  std::lock_guard lock(mutex);
  resumed.push_back(*request);
  if (const grpc::Status failure = TakeFailure(context); !failure.ok()) return failure;
  if (const grpc::Status status = Find(request->name(), job); !status.ok()) return status;
  job->set_state(v1::Job::QUEUED);
  return grpc::Status::OK;
}

grpc::Status FakeJobs::DeleteJob(grpc::ServerContext* context, const v1::DeleteJobRequest* request,
                                 google::protobuf::Empty*) {
  std::lock_guard lock(mutex);
  if (const grpc::Status failure = TakeFailure(context); !failure.ok()) return failure;
  v1::Job job;
  return Find(request->name(), &job);
}

grpc::Status FakeJobs::ListAttempts(grpc::ServerContext*, const v1::ListAttemptsRequest* request,
                                    v1::ListAttemptsResponse* response) {
  std::lock_guard lock(mutex);
  for (const v1::Attempt& attempt : attempts[request->parent()]) *response->add_attempts() = attempt;
  return grpc::Status::OK;
}

grpc::Status FakeJobs::ListCheckpoints(grpc::ServerContext*,
                                       const v1::ListCheckpointsRequest* request,
                                       v1::ListCheckpointsResponse* response) {
  std::lock_guard lock(mutex);
  *response = checkpoints[request->parent()];
  return no_checkpoints;
}

grpc::Status FakeJobs::ListTransitions(grpc::ServerContext*, const v1::ListTransitionsRequest* request,
                                       v1::ListTransitionsResponse* response) {
  std::lock_guard lock(mutex);
  for (const v1::Transition& one : transitions[request->parent()]) *response->add_transitions() = one;
  return grpc::Status::OK;
}

grpc::Status FakeJobs::WatchJobs(grpc::ServerContext* context, const v1::WatchJobsRequest* request,
                                 grpc::ServerWriter<v1::WatchJobsResponse>* writer) {
  size_t at = 0, sent = 0;
  {
    std::lock_guard lock(mutex);
    watch_cursors.push_back(request->cursor());
    v1::Job job;
    if (!request->job().empty()) {
      if (const grpc::Status status = Find(request->job(), &job); !status.ok()) return status;
    }
    if (!request->cursor().empty()) at = std::stoul(request->cursor());
  }
  while (!context->IsCancelled()) {
    std::unique_lock lock(mutex);
    if (at < watch.size()) {
      if (break_watch_after > 0 && sent == break_watch_after) {
        return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the fake breaks off");
      }
      v1::WatchJobsResponse response = watch[at++];
      ++sent;
      if (!response.has_snapshot()) response.set_cursor(std::to_string(at));
      lock.unlock();
      writer->Write(response);
      continue;
    }
    lock.unlock();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return grpc::Status::CANCELLED;
}

v1::LogChunk FakeLogs::ChunkOf(const std::string& log, int64_t offset) const {
  v1::LogChunk result;
  const auto size = static_cast<int64_t>(log.size());
  int64_t begin = offset;
  if (offset < 0) {
    begin = std::max<int64_t>(0, size + offset);
    if (begin > 0) begin = static_cast<int64_t>(log.find('\n', static_cast<size_t>(begin) - 1) + 1);
  }
  int64_t end = std::min(size, begin + static_cast<int64_t>(chunk));
  if (end < size) {
    const size_t line_end = log.rfind('\n', static_cast<size_t>(end) - 1);
    if (line_end != std::string::npos && static_cast<int64_t>(line_end) >= begin) {
      end = static_cast<int64_t>(line_end) + 1;
    }
  }
  result.set_data(log.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
  result.set_offset(begin);
  result.set_next_offset(end);
  result.set_end(end == size);
  return result;
}

grpc::Status FakeLogs::ReadLog(grpc::ServerContext*, const v1::ReadLogRequest* request,
                               v1::LogChunk* response) {
  std::lock_guard lock(mutex);
  const auto found = logs.find(request->name());
  if (found == logs.end()) {
    return ApiStatus(grpc::StatusCode::NOT_FOUND, "LOG_NOT_FOUND", "there is no log " + request->name());
  }
  *response = ChunkOf(found->second, request->offset());
  return grpc::Status::OK;
}

grpc::Status FakeLogs::FollowLog(grpc::ServerContext*, const v1::FollowLogRequest* request,
                                 grpc::ServerWriter<v1::FollowLogResponse>* writer) {
  std::lock_guard lock(mutex);
  const auto found = logs.find(request->name());
  if (found == logs.end()) {
    return ApiStatus(grpc::StatusCode::NOT_FOUND, "LOG_NOT_FOUND", "there is no log " + request->name());
  }
  int64_t offset = request->offset();
  for (size_t sent = 0;; ++sent) {
    if (break_after > 0 && sent == break_after) {
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the fake breaks off");
    }
    v1::FollowLogResponse response;
    *response.mutable_chunk() = ChunkOf(found->second, offset);
    writer->Write(response);
    if (response.chunk().end()) return grpc::Status::OK;
    offset = response.chunk().next_offset();
  }
}

grpc::Status FakeMetrics::ListSeries(grpc::ServerContext*, const v1::ListSeriesRequest*,
                                     v1::ListSeriesResponse* response) {
  std::lock_guard lock(mutex);
  *response = series;
  return grpc::Status::OK;
}

grpc::Status FakeMetrics::QueryMetrics(grpc::ServerContext*, const v1::QueryMetricsRequest* request,
                                       v1::QueryMetricsResponse* response) {
  std::lock_guard lock(mutex);
  queried.push_back(*request);
  const auto known = attempts.find(request->job());
  if (request->attempt() > (known == attempts.end() ? 1 : known->second)) {
    return ApiStatus(
        grpc::StatusCode::NOT_FOUND, "ATTEMPT_NOT_FOUND",
        "there is no " + request->job() + "/attempts/" + std::to_string(request->attempt()));
  }
  for (const v1::Series& series : query.series()) {
    if (request->has_rank() && request->rank() != series.rank()) continue;
    const bool wanted = std::any_of(
        request->names().begin(), request->names().end(), [&](const std::string& name) {
          return name.ends_with('*') ? series.name().starts_with(name.substr(0, name.size() - 1))
                                     : series.name() == name;
        });
    if (wanted || request->names().empty()) *response->add_series() = series;
  }
  return grpc::Status::OK;
}

// One entry a page.
grpc::Status FakeCluster::ListHosts(grpc::ServerContext*, const v1::ListHostsRequest* request,
                                    v1::ListHostsResponse* response) {
  const int at = request->page_token().empty() ? 0 : std::stoi(request->page_token());
  if (at < hosts.hosts_size()) *response->add_hosts() = hosts.hosts(at);
  if (at + 1 < hosts.hosts_size()) response->set_next_page_token(std::to_string(at + 1));
  return grpc::Status::OK;
}

grpc::Status FakeCluster::DrainHost(grpc::ServerContext*, const v1::DrainHostRequest* request,
                                    v1::Host* response) {
  for (const v1::Host& host : hosts.hosts()) {
    if (host.name() != request->name()) continue;
    *response = host;
    response->set_state(v1::Host::DRAINED);
    response->set_reason(request->reason());
    return grpc::Status::OK;
  }
  return ApiStatus(grpc::StatusCode::NOT_FOUND, "HOST_NOT_FOUND", "there is no " + request->name());
}

grpc::Status FakeCluster::GetQueue(grpc::ServerContext*, const v1::GetQueueRequest*, v1::Queue* response) {
  *response = queue;
  return grpc::Status::OK;
}

grpc::Status FakeCluster::GetServer(grpc::ServerContext*, const v1::GetServerRequest*,
                                    v1::Server* response) {
  *response = server;
  return grpc::Status::OK;
}

grpc::Status FakeCluster::BackUpStore(grpc::ServerContext*, const v1::BackUpStoreRequest*,
                                      v1::BackUpStoreResponse* response) {
  *response = backup;
  return grpc::Status::OK;
}

grpc::Status FakeAdmin::ListTokens(grpc::ServerContext*, const v1::ListTokensRequest* request,
                                   v1::ListTokensResponse* response) {
  const int at = request->page_token().empty() ? 0 : std::stoi(request->page_token());
  if (at < tokens.tokens_size()) *response->add_tokens() = tokens.tokens(at);
  if (at + 1 < tokens.tokens_size()) response->set_next_page_token(std::to_string(at + 1));
  return grpc::Status::OK;
}

grpc::Status FakeAdmin::ListAudit(grpc::ServerContext*, const v1::ListAuditRequest*,
                                  v1::ListAuditResponse* response) {
  *response = audit;
  return grpc::Status::OK;
}

FakeCoordinator::FakeCoordinator() { Start(); }
FakeCoordinator::~FakeCoordinator() { Stop(); }

void FakeCoordinator::Start() {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:" + std::to_string(port_), grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&jobs);
  builder.RegisterService(&logs);
  builder.RegisterService(&metrics);
  builder.RegisterService(&cluster);
  builder.RegisterService(&admin);
  server_ = builder.BuildAndStart();
  if (!server_ || port == 0) throw std::runtime_error("the fake coordinator cannot listen");
  port_ = port;
}

void FakeCoordinator::Stop() {
  if (!server_) return;
  // Streams that are open end at once.
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
  server_.reset();
}

}  // namespace syncbn
