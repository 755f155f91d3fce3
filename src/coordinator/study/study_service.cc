#include "coordinator/study/study_service.h"

#include <algorithm>
#include <charconv>
#include <fstream>

#include "base/check.h"
#include "base/text.h"
#include "coordinator/answer_size.h"
#include "coordinator/api_error.h"
#include "coordinator/service/page_request.h"
#include "coordinator/service/request_info.h"
#include "study/study_folder.h"

namespace syncbn::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr int kDefaultPage = 50, kLargestPage = 1000;
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

std::optional<StudyState> Cancelled(StudyState state) {
  if (state == v1::Study::CANCELLED) return state;
  if (IsEnded(state)) return std::nullopt;
  return v1::Study::CANCELLING;
}

std::optional<StudyState> Paused(StudyState state) {
  if (state == v1::Study::RUNNING) return v1::Study::PAUSING;
  if (state == v1::Study::PAUSING || state == v1::Study::PAUSED) return state;
  return std::nullopt;
}

std::optional<StudyState> Resumed(StudyState state) {
  if (state == v1::Study::PAUSING || state == v1::Study::PAUSED) return v1::Study::RUNNING;
  if (state == v1::Study::RUNNING) return state;
  return std::nullopt;
}

// None of the numbers that were looked at is to be given any more.
struct NumbersGone {};

int64_t ParsePageToken(const std::string& token) {
  if (token.empty()) return INT64_MAX;
  int64_t before = 0;
  const char* end = token.data() + token.size();
  const auto [at, code] = std::from_chars(token.data(), end, before);
  if (code == std::errc() && at == end && before > 0) return before;
  ThrowPageToken(token);
}

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
      [first, data = store().folder(), policy = options.submission] {
        constexpr size_t kSome = 16;
        std::vector<int64_t> numbers;
        for (int64_t study = first; numbers.size() < kSome; ++study) {
          if (!fs::exists(data / StudyName(study)) && !fs::exists(StudyOutput(policy, study))) {
            numbers.push_back(study);
          }
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
    const int64_t before = ParsePageToken(request->page_token());
    const int size =
        request->page_size() == 0 ? kDefaultPage : std::min(request->page_size(), kLargestPage);
    const StudyTable::Page page = store().Read(
        [&](Tables& tables) { return tables.studies.List(before, size, request->open()); });
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
                               const std::string& verb, const Request& request, Next next,
                               v1::Study& response) {
  return options_.gate->Run(context, method, &request, [&](Call& call) {
    const int64_t id = ParseStudyName(request.name());
    CheckOwner(call.caller(), id, verb + " it", method);
    const RequestInfo info = RequestInfoOf(call.caller(), method, request.request_id(), request,
                                           request.validate_only());
    const WallTime now = options_.drivers->options().clock->Now();
    const auto look = [&](Tables& tables) {
      StudyRecord record = tables.studies.Get(id);
      CheckEtag(record, request.etag());
      const std::optional<StudyState> state = next(record.state);
      if (!state) ThrowWrongState(record, "there is nothing to " + verb);
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
          if (state != record.state) tables.studies.SetState(id, state, record.fault, now);
          return ToProto(tables.studies.Get(id)).SerializeAsString();
        },
        Store::Use::kMakesRoom));
    options_.drivers->Wake(id);
  });
}

grpc::Status StudyService::CancelStudy(grpc::ServerContext* context,
                                       const v1::CancelStudyRequest* request, v1::Study* response) {
  return Act(*context, "StudyService/CancelStudy", "cancel", *request, Cancelled, *response);
}

grpc::Status StudyService::PauseStudy(grpc::ServerContext* context,
                                      const v1::PauseStudyRequest* request, v1::Study* response) {
  return Act(*context, "StudyService/PauseStudy", "pause", *request, Paused, *response);
}

grpc::Status StudyService::ResumeStudy(grpc::ServerContext* context,
                                       const v1::ResumeStudyRequest* request, v1::Study* response) {
  return Act(*context, "StudyService/ResumeStudy", "resume", *request, Resumed, *response);
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
    std::error_code ignored;
    fs::remove_all(StudyFolder(store(), id), ignored);
    options.controller->file_system().Run("the output folder of " + StudyName(id),
                                          [folder = StudyOutput(options.submission, id)] {
                                            std::error_code error;
                                            fs::remove_all(folder, error);
                                          });
  });
}

grpc::Status StudyService::ReadStudyResults(grpc::ServerContext* context,
                                            const v1::ReadStudyResultsRequest* request,
                                            v1::StudyResults* response) {
  return options_.gate->Run(*context, "StudyService/ReadStudyResults", request, [&](Call&) {
    const int64_t id = ParseStudyName(request->name());
    store().Read([&](Tables& tables) { tables.studies.Get(id); });
    const int64_t most = request->max_bytes() == 0
                             ? kDefaultChunk
                             : std::min<int64_t>(request->max_bytes(), kMostAnswer);
    const int64_t offset = request->offset();
    std::ifstream file(StudyFolder(store(), id) / study::kResultsFile, std::ios::binary);
    file.seekg(0, std::ios::end);
    // One that has not begun has none yet.
    const int64_t size = file.is_open() ? static_cast<int64_t>(file.tellg()) : 0;
    if (offset > size) {
      ThrowFieldInvalid(
          "offset",
          "offset is " + std::to_string(offset) + "; the results have " + Plural(size, "byte"),
          ErrorCode::kOutOfRange);
    }
    std::string data(static_cast<size_t>(std::min(most, size - offset)), '\0');
    file.seekg(offset);
    file.read(data.data(), static_cast<std::streamsize>(data.size()));
    data.resize(static_cast<size_t>(std::max<std::streamsize>(0, file.gcount())));
    response->set_end(offset + static_cast<int64_t>(data.size()) == size);
    // A line that is just being written comes when it is whole.
    if (response->end()) data.resize(data.rfind('\n') + 1);
    response->set_next_offset(offset + static_cast<int64_t>(data.size()));
    response->set_data(std::move(data));
  });
}

}  // namespace syncbn::coordinator
