#include "coordinator/service/job_service.h"

#include <algorithm>
#include <charconv>

#include "config/run_file.h"
#include "coordinator/api_error.h"
#include "coordinator/job/job_filter.h"
#include "coordinator/service/request_info.h"

namespace syncbn::coordinator {
namespace {

constexpr size_t kMostReason = 1024;
constexpr int kDefaultPage = 50, kLargestPage = 1000;

int PageSize(int asked) {
  if (asked < 0) ThrowFieldInvalid("page_size", "page_size must not be negative");
  return asked == 0 ? kDefaultPage : std::min(asked, kLargestPage);
}

void AddRunFile(const RunFileText& text, v1::Job& job) {
  job.set_run_file(text.text);
  job.set_effective_run_file(text.effective);
}

// The last entry of the history that a page held. Opaque to clients.
std::string HistoryToken(int64_t sequence) {
  return "t" + std::to_string(sequence);
}

int64_t ParseHistoryToken(const std::string& token) {
  if (token.empty()) return 0;
  int64_t sequence = 0;
  const char* end = token.data() + token.size();
  const auto parsed = std::from_chars(token.data() + 1, end, sequence);
  if (token[0] == 't' && parsed.ec == std::errc() && parsed.ptr == end && sequence > 0)
    return sequence;
  throw ApiError(ErrorCode::kInvalidArgument, "PAGE_TOKEN_INVALID",
                 "page_token '" + token.substr(0, 80) + "' is not one that ListTransitions gave");
}

}  // namespace

grpc::Status JobService::CreateJob(grpc::ServerContext* context,
                                   const v1::CreateJobRequest* request, v1::Job* response) {
  constexpr std::string_view kMethod = "JobService/CreateJob";
  return options_.gate->Run(*context, kMethod, request, [&](Call& call) {
    const RequestInfo info = RequestInfoOf(call.caller(), kMethod, request->request_id(), *request,
                                           request->validate_only());
    const Submission submission =
        CheckSubmission(request->job(), call.caller().name, options_.submission);
    *response = options_.controller->Submit(submission.spec, submission.run_file, info);
    call.SetResource(response->name());
  });
}

grpc::Status JobService::GetJob(grpc::ServerContext* context, const v1::GetJobRequest* request,
                                v1::Job* response) {
  return options_.gate->Run(*context, "JobService/GetJob", request, [&](Call&) {
    const int64_t id = ParseJobName(request->name());
    const bool full = request->view() != v1::JOB_VIEW_BASIC;
    RunFileText text;
    const JobRecord record = options_.store->Read([&](Tables& tables) {
      JobRecord found = tables.jobs.Get(id);
      if (full) text = tables.jobs.RunFile(id);
      return found;
    });
    *response = options_.controller->View(record);
    if (full) AddRunFile(text, *response);
  });
}

grpc::Status JobService::ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                                  v1::ListJobsResponse* response) {
  return options_.gate->Run(*context, "JobService/ListJobs", request, [&](Call&) {
    const JobFilter filter = JobFilter::Parse(request->filter());
    const bool full = request->view() == v1::JOB_VIEW_FULL;
    std::vector<RunFileText> texts;
    const JobPage page = options_.store->Read([&](Tables& tables) {
      JobPage found =
          tables.jobs.List(filter, PageSize(request->page_size()), request->page_token());
      if (!full) return found;
      for (const JobRecord& record : found.jobs) texts.push_back(tables.jobs.RunFile(record.id));
      return found;
    });
    for (size_t i = 0; i < page.jobs.size(); ++i) {
      v1::Job& job = *response->add_jobs();
      job = options_.controller->View(page.jobs[i]);
      if (full) AddRunFile(texts[i], job);
    }
    response->set_next_page_token(page.next_page_token);
  });
}

template <typename Request>
grpc::Status JobService::Act(grpc::ServerContext& context, std::string_view method,
                             const Request& request, VerbRequest verb, v1::Job& response) {
  return options_.gate->Run(context, method, &request, [&](Call& call) {
    CheckText("reason", request.reason(), kMostReason);
    verb.etag = request.etag();
    verb.reason = request.reason();
    if constexpr (requires { request.resources(); }) {
      if (request.has_resources())
        verb.resources = CheckNewResources(request.name(), request.resources());
    }
    response = options_.controller->Act(ParseJobName(request.name()), verb,
                                        RequestInfoOf(call.caller(), method, request.request_id(),
                                                      request, request.validate_only()));
  });
}

v1::Resources JobService::CheckNewResources(const std::string& job,
                                            const v1::Resources& resources) const {
  const int64_t id = ParseJobName(job);
  RunFileText text;
  const JobRecord record = options_.store->Read([&](Tables& tables) {
    text = tables.jobs.RunFile(id);
    return tables.jobs.Get(id);
  });
  const std::vector<std::string> overrides(record.spec.overrides().begin(),
                                           record.spec.overrides().end());
  const config::RunFile file =
      config::ParseRunFile(text.text, record.spec.run_file_name(), overrides);
  return CheckResources(resources, file.spec.cluster().replicas());
}

grpc::Status JobService::CancelJob(grpc::ServerContext* context,
                                   const v1::CancelJobRequest* request, v1::Job* response) {
  const EventKind kind = request->kill() ? EventKind::kKill : EventKind::kCancel;
  return Act(*context, "JobService/CancelJob", *request, {.verb = kind}, *response);
}

grpc::Status JobService::PauseJob(grpc::ServerContext* context, const v1::PauseJobRequest* request,
                                  v1::Job* response) {
  return Act(*context, "JobService/PauseJob", *request, {.verb = EventKind::kPause}, *response);
}

grpc::Status JobService::ResumeJob(grpc::ServerContext* context,
                                   const v1::ResumeJobRequest* request, v1::Job* response) {
  return Act(*context, "JobService/ResumeJob", *request, {.verb = EventKind::kResume}, *response);
}

grpc::Status JobService::RetryJob(grpc::ServerContext* context, const v1::RetryJobRequest* request,
                                  v1::Job* response) {
  return Act(*context, "JobService/RetryJob", *request, {.verb = EventKind::kRetry}, *response);
}

grpc::Status JobService::DeleteJob(grpc::ServerContext* context,
                                   const v1::DeleteJobRequest* request,
                                   google::protobuf::Empty* /*response*/) {
  constexpr std::string_view kMethod = "JobService/DeleteJob";
  return options_.gate->Run(*context, kMethod, request, [&](Call& call) {
    const int64_t id = ParseJobName(request->name());
    const RequestInfo info = RequestInfoOf(call.caller(), kMethod, request->request_id(), *request,
                                           request->validate_only());
    if (call.caller().role < Role::kAdmin) {
      try {
        const std::string owner = options_.store->Read(
            [&](Tables& tables) { return tables.jobs.Get(id).spec.submitter(); });
        if (owner != call.caller().name) {
          throw ApiError(ErrorCode::kPermissionDenied, "ROLE_TOO_LOW",
                         JobName(id) + " was submitted by " + owner + ": only " + owner +
                             " or an admin may delete it");
        }
      } catch (const ApiError& error) {
        // Perhaps this request comes again, and has its answer.
        if (error.code() != ErrorCode::kNotFound) throw;
      }
    }
    options_.controller->Delete(id, request->etag(), info);
  });
}

grpc::ServerWriteReactor<v1::WatchJobsResponse>* JobService::WatchJobs(
    grpc::CallbackServerContext* context, const v1::WatchJobsRequest* request) {
  return options_.watcher->Watch(*context, *request);
}

grpc::Status JobService::ListAttempts(grpc::ServerContext* context,
                                      const v1::ListAttemptsRequest* request,
                                      v1::ListAttemptsResponse* response) {
  return options_.gate->Run(*context, "JobService/ListAttempts", request, [&](Call&) {
    const int64_t id = ParseJobName(request->parent(), "parent");
    const std::vector<v1::Attempt> attempts = options_.store->Read([&](Tables& tables) {
      tables.jobs.Get(id);
      return tables.attempts.List(id);
    });
    response->mutable_attempts()->Add(attempts.begin(), attempts.end());
  });
}

grpc::Status JobService::ListTransitions(grpc::ServerContext* context,
                                         const v1::ListTransitionsRequest* request,
                                         v1::ListTransitionsResponse* response) {
  return options_.gate->Run(*context, "JobService/ListTransitions", request, [&](Call&) {
    std::optional<int64_t> job;
    if (request->parent() != "jobs/-") job = ParseJobName(request->parent(), "parent");
    const int64_t after = ParseHistoryToken(request->page_token());
    const int size = PageSize(request->page_size());
    const std::vector<v1::Transition> history = options_.store->Read([&](Tables& tables) {
      std::vector<v1::Transition> found = tables.jobs.History(job, after, size);
      // Of a deleted job the last entry is left.
      if (job && after == 0 && found.empty()) tables.jobs.Get(*job);
      return found;
    });
    response->mutable_transitions()->Add(history.begin(), history.end());
    if (static_cast<int>(history.size()) == size)
      response->set_next_page_token(HistoryToken(history.back().sequence()));
  });
}

}  // namespace syncbn::coordinator
