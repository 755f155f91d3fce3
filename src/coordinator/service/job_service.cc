#include "coordinator/service/job_service.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <charconv>

#include "config/run_file.h"
#include "coordinator/answer_size.h"
#include "coordinator/api_error.h"
#include "coordinator/job/job_filter.h"
#include "coordinator/service/request_info.h"
#include "train/manifest/listing.h"

namespace syncbn::coordinator {
namespace {

constexpr size_t kMostReason = 1024;
constexpr int kDefaultPage = 50, kLargestPage = 1000;
constexpr size_t kMostCheckpoints = 200;
constexpr char kAttempts = 'a', kHistory = 't';

int PageSize(int asked) {
  return asked == 0 ? kDefaultPage : std::min(asked, kLargestPage);
}

void AddRunFile(const RunFileText& text, v1::Job& job) {
  job.set_run_file(text.text);
  job.set_effective_run_file(text.effective);
}

// The last of what a page held, by its number; `kind` tells one list from another. Opaque to
// clients.
std::string PageToken(char kind, int64_t number) {
  return std::string(1, kind) + std::to_string(number);
}

int64_t ParsePageToken(char kind, const std::string& token, const std::string& list) {
  if (token.empty()) return 0;
  int64_t number = 0;
  const char* end = token.data() + token.size();
  const auto parsed = std::from_chars(token.data() + 1, end, number);
  if (token[0] == kind && parsed.ec == std::errc() && parsed.ptr == end && number > 0)
    return number;
  throw ApiError(ErrorCode::kInvalidArgument, "PAGE_TOKEN_INVALID",
                 "page_token '" + token.substr(0, 80) + "' is not one that " + list + " gave");
}

// Numbers and times of a manifest may be anybody's: of what no message may hold the field stays as
// it is.
v1::Checkpoint ToProto(const train::ListedCheckpoint& listed) {
  constexpr int64_t kMostCount = int64_t{1} << 53;
  v1::Checkpoint checkpoint;
  checkpoint.set_step(std::min(listed.step, kMostCount));
  checkpoint.set_size_bytes(std::clamp<int64_t>(listed.bytes, 0, kMostCount));
  checkpoint.set_damage(listed.damage);
  if (!listed.manifest) return checkpoint;
  const train::Manifest& manifest = *listed.manifest;
  checkpoint.set_epoch(std::clamp<int64_t>(manifest.counters.epoch, 0, kMostCount));
  google::protobuf::Timestamp written;
  if (google::protobuf::util::TimeUtil::FromString(manifest.created, &written))
    *checkpoint.mutable_create_time() = written;
  checkpoint.set_attempt(std::max(0, manifest.attempt));
  if (manifest.test_accuracy) checkpoint.set_test_accuracy(*manifest.test_accuracy);
  checkpoint.set_until_next(manifest.until_next);
  return checkpoint;
}

}  // namespace

grpc::Status JobService::CreateJob(grpc::ServerContext* context,
                                   const v1::CreateJobRequest* request, v1::Job* response) {
  constexpr std::string_view kMethod = "JobService/CreateJob";
  return options_.gate->Run(*context, kMethod, request, [&](Call& call) {
    const RequestInfo info = RequestInfoOf(call.caller(), kMethod, request->request_id(), *request,
                                           request->validate_only());
    Submission submission =
        CheckSubmission(request->job(), call.caller().name, options_.submission);
    if (!submission.spec.output_folder().empty() || !submission.inputs.empty()) {
      submission = options_.controller->file_system().Run(
          "the folders of the job", [submission, policy = options_.submission]() mutable {
            CheckFolders(submission, policy);
            return submission;
          });
    }
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
    if (full) {
      AddRunFile(text, *response);
    } else {
      MakeBasic(*response);
    }
  });
}

grpc::Status JobService::ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                                  v1::ListJobsResponse* response) {
  return options_.gate->Run(*context, "JobService/ListJobs", request, [&](Call&) {
    const JobFilter filter = JobFilter::Parse(request->filter());
    const bool full = request->view() == v1::JOB_VIEW_FULL;
    const PageLimits limits{.jobs = PageSize(request->page_size()), .run_files = full};
    const JobPage page = options_.store->Read([&](Tables& tables) {
      response->set_cursor(NewestJobCursor(tables));
      return tables.jobs.List(filter, limits, request->page_token());
    });
    for (size_t i = 0; i < page.jobs.size(); ++i) {
      v1::Job& job = *response->add_jobs();
      job = options_.controller->View(page.jobs[i]);
      if (full) {
        AddRunFile(page.run_files[i], job);
      } else {
        MakeBasic(job);
      }
    }
    response->set_next_page_token(page.next_page_token);
  });
}

template <typename Request>
grpc::Status JobService::Act(grpc::ServerContext& context, std::string_view method,
                             const std::string& action, const Request& request, VerbRequest verb,
                             v1::Job& response) {
  return options_.gate->Run(context, method, &request, [&](Call& call) {
    const int64_t id = ParseJobName(request.name());
    CheckOwner(call.caller(), id, action, method);
    CheckText("reason", request.reason(), kMostReason);
    verb.etag = request.etag();
    verb.reason = request.reason();
    if constexpr (requires { request.resources(); }) {
      if (request.has_resources())
        verb.resources = CheckNewResources(request.name(), request.resources());
    }
    response = options_.controller->Act(id, verb,
                                        RequestInfoOf(call.caller(), method, request.request_id(),
                                                      request, request.validate_only()));
  });
}

void JobService::CheckOwner(const Caller& caller, int64_t job, const std::string& action,
                            std::string_view method) const {
  std::string submitter;
  try {
    submitter =
        options_.store->Read([&](Tables& tables) { return tables.jobs.Get(job).spec.submitter(); });
  } catch (const ApiError& error) {
    // Perhaps a request to delete it comes again, and has its answer.
    if (error.code() == ErrorCode::kNotFound) return;
    throw;
  }
  CheckMayChange(caller, JobName(job), submitter, action, method, options_.ownership);
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
  return Act(*context, "JobService/CancelJob", "cancel it", *request, {.verb = kind}, *response);
}

grpc::Status JobService::PauseJob(grpc::ServerContext* context, const v1::PauseJobRequest* request,
                                  v1::Job* response) {
  return Act(*context, "JobService/PauseJob", "pause it", *request, {.verb = EventKind::kPause},
             *response);
}

grpc::Status JobService::ResumeJob(grpc::ServerContext* context,
                                   const v1::ResumeJobRequest* request, v1::Job* response) {
  return Act(*context, "JobService/ResumeJob", "resume it", *request, {.verb = EventKind::kResume},
             *response);
}

grpc::Status JobService::RetryJob(grpc::ServerContext* context, const v1::RetryJobRequest* request,
                                  v1::Job* response) {
  return Act(*context, "JobService/RetryJob", "retry it", *request, {.verb = EventKind::kRetry},
             *response);
}

grpc::Status JobService::DeleteJob(grpc::ServerContext* context,
                                   const v1::DeleteJobRequest* request,
                                   google::protobuf::Empty* /*response*/) {
  constexpr std::string_view kMethod = "JobService/DeleteJob";
  return options_.gate->Run(*context, kMethod, request, [&](Call& call) {
    const int64_t id = ParseJobName(request->name());
    const RequestInfo info = RequestInfoOf(call.caller(), kMethod, request->request_id(), *request,
                                           request->validate_only());
    CheckOwner(call.caller(), id, "delete it", kMethod);
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
    const int64_t after = ParsePageToken(kAttempts, request->page_token(), "ListAttempts");
    if (after > INT32_MAX) return;
    const int count = request->page_size() == 0 ? INT32_MAX : request->page_size();
    const AttemptTable::Page page = options_.store->Read([&](Tables& tables) {
      tables.jobs.Get(id);
      return tables.attempts.List(id, static_cast<int>(after), count);
    });
    response->mutable_attempts()->Add(page.attempts.begin(), page.attempts.end());
    if (!page.more) return;
    response->set_next_page_token(
        PageToken(kAttempts, ParseAttemptName(page.attempts.back().name()).attempt));
  });
}

grpc::Status JobService::ListTransitions(grpc::ServerContext* context,
                                         const v1::ListTransitionsRequest* request,
                                         v1::ListTransitionsResponse* response) {
  return options_.gate->Run(*context, "JobService/ListTransitions", request, [&](Call&) {
    std::optional<int64_t> job;
    if (request->parent() != "jobs/-") job = ParseJobName(request->parent(), "parent");
    const int64_t after = ParsePageToken(kHistory, request->page_token(), "ListTransitions");
    const int size = PageSize(request->page_size());
    const std::vector<v1::Transition> history = options_.store->Read([&](Tables& tables) {
      std::vector<v1::Transition> found = tables.jobs.History(job, after, size);
      // Of a deleted job the last entry is left.
      if (job && after == 0 && found.empty()) tables.jobs.Get(*job);
      return found;
    });
    int64_t bytes = 0;
    for (const v1::Transition& entry : history) {
      *response->add_transitions() = entry;
      bytes += static_cast<int64_t>(entry.ByteSizeLong());
      if (bytes > kMostAnswer) break;
    }
    const int shown = response->transitions_size();
    if (shown == size || shown < static_cast<int>(history.size()))
      response->set_next_page_token(
          PageToken(kHistory, response->transitions(shown - 1).sequence()));
  });
}

grpc::Status JobService::ListCheckpoints(grpc::ServerContext* context,
                                         const v1::ListCheckpointsRequest* request,
                                         v1::ListCheckpointsResponse* response) {
  return options_.gate->Run(*context, "JobService/ListCheckpoints", request, [&](Call&) {
    const int64_t id = ParseJobName(request->parent(), "parent");
    const std::string folder = options_.store->Read(
        [&](Tables& tables) { return tables.jobs.Get(id).spec.output_folder(); });
    if (folder.empty()) return;
    const train::CheckpointListing listing = options_.controller->file_system().Run(
        "the output folder " + folder, [folder, policy = options_.submission] {
          // Below the root still: a job may have made its own folder a link meanwhile.
          return train::ListCheckpoints(CheckOutputFolder(folder, policy), kMostCheckpoints);
        });
    bool newest = true;
    for (const train::ListedCheckpoint& listed : listing.checkpoints) {
      v1::Checkpoint& checkpoint = *response->add_checkpoints();
      checkpoint = ToProto(listed);
      checkpoint.set_resumes(newest && listed.manifest);
      newest = newest && !listed.manifest;
    }
    response->set_left_out(listing.left_out);
  });
}

}  // namespace syncbn::coordinator
