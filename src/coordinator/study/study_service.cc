#include "coordinator/study/study_service.h"

#include <algorithm>
#include <filesystem>

#include "base/check.h"
#include "base/text.h"
#include "coordinator/answer_size.h"
#include "coordinator/api_error.h"
#include "coordinator/service/page_request.h"
#include "coordinator/service/request_info.h"

namespace syncbn::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr int kUsualPage = 50;
constexpr int64_t kDefaultChunk = int64_t{1} << 20;
// What tells the studies of a list apart.
constexpr size_t kMostListedOverrides = 512;

std::string NameOf(StudyState state) {
  return v1::Study::State_Name(state);
}

void CheckEtag(const StudyRecord& record, const std::string& etag) {
  if (etag.empty() || etag == Etag(record.revision)) return;
  throw ApiError(ErrorCode::kAborted, "ETAG_MISMATCH",
                 StudyName(record.id) + " has changed since it was read: look at it again",
                 {{"etag", Etag(record.revision)}});
}

[[noreturn]] void ThrowWrongState(const StudyRecord& record, const std::string& what) {
  const std::string state = NameOf(record.state);
  throw ApiError(ErrorCode::kFailedPrecondition, "WRONG_STATE",
                 StudyName(record.id) + " is " + state + ": " + what, {{"state", state}});
}

v1::Study ParseStudy(const std::string& bytes) {
  v1::Study study;
  SYNCBN_CHECK(study.ParseFromString(bytes)) << "a kept answer is damaged";
  return study;
}

std::optional<StudyState> Cancelled(const StudyRecord& record) {
  if (record.state == v1::Study::CANCELLED) return record.state;
  if (IsEnded(record.state)) return std::nullopt;
  return v1::Study::CANCELLING;
}

std::optional<StudyState> Paused(const StudyRecord& record) {
  if (record.state == v1::Study::RUNNING) return v1::Study::PAUSING;
  if (record.state == v1::Study::PAUSING || record.state == v1::Study::PAUSED) return record.state;
  return std::nullopt;
}

std::optional<StudyState> Resumed(const StudyRecord& record) {
  if (record.state == v1::Study::PAUSING || record.state == v1::Study::PAUSED ||
      record.state == v1::Study::RUNNING) {
    return v1::Study::RUNNING;
  }
  return std::nullopt;
}

std::optional<StudyState> Retried(const StudyRecord& record) {
  if (record.state == v1::Study::FAILED) return v1::Study::RUNNING;
  if (record.progress.failed() == 0) return std::nullopt;
  if (record.state == v1::Study::CANCELLING || record.state == v1::Study::CANCELLED)
    return std::nullopt;
  return IsEnded(record.state) ? v1::Study::RUNNING : record.state;
}

// None of the numbers that were looked at is to be given any more.
struct NumbersGone {};

}  // namespace

void StudyService::CheckQuota(const Tables& tables, const std::string& submitter) const {
  const auto check = [&](int64_t used, int64_t most, const std::string& whose) {
    if (used < most) return;
    throw ApiError(
        ErrorCode::kResourceExhausted, "QUOTA_EXCEEDED",
        whose + " " + std::to_string(used) +
            (used == 1 ? " study that has" : " studies that have") +
            " not ended, which is the limit: wait for some to end, or cancel them",
        {{"limit", "studies"}, {"used", std::to_string(used)}, {"most", std::to_string(most)}});
  };
  check(tables.studies.CountOpen(std::nullopt), options_.most_open, "this server has");
  if (submitter == "local") return;
  check(tables.studies.CountOpen(submitter), options_.submitter.open_studies, submitter + " has");
}

std::optional<int64_t> StudyService::Insert(const StudySubmission& submission,
                                            const RequestInfo& info, v1::Study& answer) {
  const StudyOptions& options = options_.drivers->options();
  // What another store's study of that number has left, or one that came after the backup from
  // which this store was restored, is not this study's to go on with.
  const int64_t first = store().Read([](Tables& tables) { return tables.studies.NextId(); });
  const std::vector<int64_t> free = options.controller->file_system().Run(
      "the output root " + options.submission.output_root.string(),
      [first, root = options.submission.output_root] {
        constexpr size_t kSome = 16;
        std::vector<int64_t> numbers;
        for (int64_t study = first; numbers.size() < kSome; ++study) {
          if (!fs::exists(StudyOutput(root, study))) numbers.push_back(study);
        }
        return numbers;
      });
  const WallTime now = options.clock->Now();
  v1::StudyProgress progress;
  progress.set_known(submission.known_trials);
  std::optional<int64_t> created;
  const std::string bytes = store().Mutate(info.key, now, [&](Tables& tables) {
    CheckQuota(tables, submission.spec.submitter());
    const auto id = std::lower_bound(free.begin(), free.end(), tables.studies.NextId());
    if (id == free.end()) throw NumbersGone();
    tables.studies.Create(*id, submission.spec, submission.texts, progress, now);
    created = *id;
    return ToProto(tables.studies.Get(*id)).SerializeAsString();
  });
  answer = ParseStudy(bytes);
  return created;
}

grpc::Status StudyService::CreateStudy(grpc::ServerContext* context,
                                       const v1::CreateStudyRequest* request, v1::Study* response) {
  constexpr std::string_view kMethod = "StudyService/CreateStudy";
  return options_.gate->Run(*context, kMethod, request, [&](Call& call) {
    const RequestInfo info = RequestInfoOf(call.caller(), kMethod, request->request_id(), *request,
                                           request->validate_only());
    if (!info.validate_only) {
      if (const auto answered = store().Answered(info.key)) {
        *response = ParseStudy(*answered);
        call.SetResource(response->name());
        return;
      }
    }
    const StudyOptions& options = options_.drivers->options();
    const StudySubmission submission =
        CheckStudy(request->study(), call.caller().name, options.submission, *options.controller);
    if (info.validate_only) {
      store().Read([&](Tables& tables) { CheckQuota(tables, call.caller().name); });
      *response = ToProto(StudyRecord{.spec = submission.spec,
                                      .create_time = options.clock->Now(),
                                      .update_time = options.clock->Now()});
      // It has none: nothing was made.
      response->clear_name();
      response->clear_etag();
      return;
    }
    std::optional<int64_t> created;
    for (bool tried = false; !tried;) {
      try {
        created = Insert(submission, info, *response);
        tried = true;
      } catch (const NumbersGone&) {
        // Others have made as many meanwhile: with newer numbers.
      }
    }
    call.SetResource(response->name());
    if (created) options_.drivers->Wake(*created);
  });
}

grpc::Status StudyService::GetStudy(grpc::ServerContext* context,
                                    const v1::GetStudyRequest* request, v1::Study* response) {
  return options_.gate->Run(*context, "StudyService/GetStudy", request, [&](Call&) {
    const int64_t id = ParseStudyName(request->name());
    StudyTexts texts;
    const StudyRecord record = store().Read([&](Tables& tables) {
      if (!request->basic()) texts = tables.studies.Texts(id);
      return tables.studies.Get(id);
    });
    *response = options_.drivers->View(record);
    response->set_study_file(std::move(texts.study));
    response->set_run_file(std::move(texts.run));
  });
}

grpc::Status StudyService::ListStudies(grpc::ServerContext* context,
                                       const v1::ListStudiesRequest* request,
                                       v1::ListStudiesResponse* response) {
  return options_.gate->Run(*context, "StudyService/ListStudies", request, [&](Call&) {
    const NumberedPageRequest asked =
        ParseNumberedPage(request->page_size(), request->page_token(), kUsualPage);
    const StudyTable::Page page = store().Read([&](Tables& tables) {
      return tables.studies.List(asked.before, asked.size, request->open());
    });
    for (const StudyRecord& record : page.studies) {
      v1::Study& study = *response->add_studies();
      study = options_.drivers->View(record);
      size_t overrides = 0;
      for (const std::string& one : study.overrides()) overrides += one.size();
      if (overrides > kMostListedOverrides) study.clear_overrides();
    }
    if (page.more) response->set_next_page_token(std::to_string(page.studies.back().id));
  });
}

void StudyService::CheckOwner(const Caller& caller, int64_t study, const std::string& action,
                              std::string_view method) const {
  std::string submitter;
  try {
    submitter =
        store().Read([&](Tables& tables) { return tables.studies.Get(study).spec.submitter(); });
  } catch (const ApiError& error) {
    // Perhaps a request to delete it comes again, and has its answer.
    if (error.code() == ErrorCode::kNotFound) return;
    throw;
  }
  CheckMayChange(caller, StudyName(study), submitter, action, method, options_.ownership);
}

template <typename Request>
grpc::Status StudyService::Act(grpc::ServerContext& context, std::string_view method,
                               const Verb& verb, const Request& request, v1::Study& response) {
  return options_.gate->Run(context, method, &request, [&](Call& call) {
    const int64_t id = ParseStudyName(request.name());
    CheckOwner(call.caller(), id, verb.name + " it", method);
    const RequestInfo info = RequestInfoOf(call.caller(), method, request.request_id(), request,
                                           request.validate_only());
    const WallTime now = options_.drivers->options().clock->Now();
    const auto look = [&](Tables& tables) {
      StudyRecord record = tables.studies.Get(id);
      CheckEtag(record, request.etag());
      const std::optional<StudyState> state = verb.next(record);
      if (!state) ThrowWrongState(record, verb.refusal);
      if (IsEnded(record.state) && !IsEnded(*state)) CheckQuota(tables, record.spec.submitter());
      return std::pair(std::move(record), *state);
    };
    if (info.validate_only) {
      auto [record, state] = store().Read(look);
      record.state = state;
      response = options_.drivers->View(record);
      return;
    }
    response = ParseStudy(store().Mutate(
        info.key, now,
        [&](Tables& tables) {
          const auto [record, state] = look(tables);
          if (verb.also) verb.also(tables, record);
          // Once it is open again nothing is wrong with it.
          const bool again = IsEnded(record.state) && !IsEnded(state);
          if (state != record.state || verb.also)
            tables.studies.SetState(id, state, again ? "" : record.fault, now);
          return ToProto(tables.studies.Get(id)).SerializeAsString();
        },
        Store::Use::kMakesRoom));
    options_.drivers->Wake(id);
  });
}

grpc::Status StudyService::CancelStudy(grpc::ServerContext* context,
                                       const v1::CancelStudyRequest* request, v1::Study* response) {
  return Act(*context, "StudyService/CancelStudy", {"cancel", Cancelled}, *request, *response);
}

grpc::Status StudyService::PauseStudy(grpc::ServerContext* context,
                                      const v1::PauseStudyRequest* request, v1::Study* response) {
  return Act(*context, "StudyService/PauseStudy", {"pause", Paused}, *request, *response);
}

grpc::Status StudyService::ResumeStudy(grpc::ServerContext* context,
                                       const v1::ResumeStudyRequest* request, v1::Study* response) {
  return Act(*context, "StudyService/ResumeStudy", {"resume", Resumed}, *request, *response);
}

grpc::Status StudyService::RetryStudy(grpc::ServerContext* context,
                                      const v1::RetryStudyRequest* request, v1::Study* response) {
  const Verb retry{.name = "retry",
                   .next = Retried,
                   .refusal =
                       "only trials that have failed, of a study that was not cancelled, run "
                       "anew; it has no such trial",
                   .also = [](Tables& tables, const StudyRecord& record) {
                     // Of a digest that several trials have, one: its driver counts them anew.
                     v1::StudyProgress progress = record.progress;
                     const int64_t dropped = tables.studies.DropFailed(record.id);
                     progress.set_done(std::max<int64_t>(0, progress.done() - dropped));
                     progress.set_failed(0);
                     tables.studies.SetProgress(record.id, progress);
                   }};
  return Act(*context, "StudyService/RetryStudy", retry, *request, *response);
}

grpc::Status StudyService::DeleteStudy(grpc::ServerContext* context,
                                       const v1::DeleteStudyRequest* request,
                                       google::protobuf::Empty* /*response*/) {
  constexpr std::string_view kMethod = "StudyService/DeleteStudy";
  return options_.gate->Run(*context, kMethod, request, [&](Call& call) {
    const int64_t id = ParseStudyName(request->name());
    CheckOwner(call.caller(), id, "delete it", kMethod);
    const RequestInfo info = RequestInfoOf(call.caller(), kMethod, request->request_id(), *request,
                                           request->validate_only());
    const auto look = [&](Tables& tables) {
      const StudyRecord record = tables.studies.Get(id);
      CheckEtag(record, request->etag());
      if (!IsEnded(record.state)) {
        ThrowWrongState(record, "only a study that has ended can be deleted; cancel it first");
      }
    };
    if (info.validate_only) return store().Read(look);
    const StudyOptions& options = options_.drivers->options();
    store().Mutate(
        info.key, options.clock->Now(),
        [&](Tables& tables) {
          look(tables);
          tables.studies.Delete(id);
          return std::string();
        },
        Store::Use::kMakesRoom);
    options.controller->file_system().Run(
        "the output folder of " + StudyName(id),
        [folder = StudyOutput(options.submission.output_root, id)] {
          std::error_code ignored;
          fs::remove_all(folder, ignored);
        });
  });
}

grpc::Status StudyService::ReadStudyResults(grpc::ServerContext* context,
                                            const v1::ReadStudyResultsRequest* request,
                                            v1::StudyResults* response) {
  return options_.gate->Run(*context, "StudyService/ReadStudyResults", request, [&](Call&) {
    const int64_t id = ParseStudyName(request->name());
    const int64_t most = request->max_bytes() == 0
                             ? kDefaultChunk
                             : std::min<int64_t>(request->max_bytes(), kMostAnswer);
    const int64_t offset = request->offset();
    store().Read([&](Tables& tables) {
      const StudyRecord study = tables.studies.Get(id);
      const int64_t size = tables.studies.ResultBytes(id);
      if (size == 0 && study.progress.done() > 0) {
        throw Error(ErrorCode::kDataLoss,
                    StudyName(id) + " has ended " + Plural(study.progress.done(), "trial") +
                        ", but the store has no result of any: put a backup of the store in its "
                        "place");
      }
      if (offset > size) {
        ThrowFieldInvalid(
            "offset",
            "offset is " + std::to_string(offset) + "; the results have " + Plural(size, "byte"),
            ErrorCode::kOutOfRange);
      }
      response->set_data(tables.studies.ReadResults(id, offset, most));
      response->set_next_offset(offset + static_cast<int64_t>(response->data().size()));
      response->set_end(response->next_offset() == size);
    });
  });
}

}  // namespace syncbn::coordinator
