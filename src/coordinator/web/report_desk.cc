#include "coordinator/web/report_desk.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/untrusted_json.h"
#include "coordinator/api_error.h"
#include "coordinator/service/status.h"
#include "coordinator/store/study_table.h"
#include "study/document/html.h"
#include "study/document/markdown.h"
#include "study/plan.h"
#include "study/report_head.h"
#include "study/study_report.h"

namespace syncbn::coordinator {
namespace {

constexpr std::chrono::seconds kDeadline{30};

// What a call of the API has answered instead.
struct Refused {
  grpc::Status status;
};

Refused Ends() {
  return {{grpc::StatusCode::UNAVAILABLE, "the coordinator ends"}};
}

// One call that is under way.
struct LookCall {
  explicit LookCall(std::shared_ptr<void> opened) : open(std::move(opened)) {}

  const std::shared_ptr<void> open;  // first, so that it ends last
  grpc::ClientContext context;
  v1::ReadStudyResultsRequest request;
  v1::StudyResults response;
};

std::string StudyOf(const std::string& body) {
  const nlohmann::json json = UntrustedJsonOrNull(body);
  const auto name = json.is_object() ? json.find("name") : json.end();
  if (name == json.end() || !name->is_string() || json.size() != 1) {
    throw ApiError(ErrorCode::kInvalidArgument, "MESSAGE_INVALID",
                   "the body is not {\"name\": \"studies/3\"}");
  }
  // One report for every way of writing the number.
  return StudyName(ParseStudyName(name->get<std::string>()));
}

HttpAnswer RefusalOf(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Refused& refused) {
    return StatusAnswer(refused.status);
  } catch (...) {
    return StatusAnswer(ToStatus(std::current_exception()));
  }
}

void Prepare(grpc::ClientContext& context, const HttpRequest& caller) {
  SetCaller(context, caller);
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
}

}  // namespace

ReportDesk::ReportDesk(Options options)
    : options_(std::move(options)),
      stub_(v1::StudyService::NewStub(options_.channel)),
      shelf_(options_.shelf),
      thread_([this] { Loop(); }) {}

ReportDesk::~ReportDesk() {
  calls_.WaitForAll();
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
    stop_.request_stop();
    orders_.clear();
    if (under_way_ != nullptr) under_way_->TryCancel();
  }
  changed_.notify_all();
  thread_.join();
}

void ReportDesk::Answer(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  try {
    Look(request, StudyOf(request.body), reply);
  } catch (...) {
    reply->Send(RefusalOf(std::current_exception()));
  }
}

void ReportDesk::Look(const HttpRequest& request, const std::string& study,
                      const std::shared_ptr<HttpReply>& reply) {
  const auto call = std::make_shared<LookCall>(calls_.Begin());
  const std::shared_ptr<const MadeReport> report = shelf_.Find(study);
  Prepare(call->context, request);
  call->request.set_name(study);
  call->request.set_max_bytes(1);
  call->request.set_offset(report != nullptr ? report->result_bytes : 0);
  stub_->async()->ReadStudyResults(
      &call->context, &call->request, &call->response,
      [this, call, request, study, reply, report](const grpc::Status& status) {
        try {
          // A study of this number that has fewer results is another one.
          const bool other =
              report != nullptr && status.error_code() == grpc::StatusCode::OUT_OF_RANGE;
          if (!status.ok() && !other) throw Refused{status};
          const bool whole = call->response.end() && call->response.data().empty();
          if (report == nullptr || other) return Wait(request, study, reply);
          if (whole || report->for_good) return Send(report, false, *reply);
          const auto rest = options_.rest * report->took;
          if (options_.shelf.clock->Monotonic() < report->made + rest)
            return Send(report, true, *reply);
          Wait(request, study, reply);
        } catch (...) {
          reply->Send(RefusalOf(std::current_exception()));
        }
      });
}

void ReportDesk::Wait(const HttpRequest& request, const std::string& study,
                      const std::shared_ptr<HttpReply>& reply) {
  std::lock_guard lock(mutex_);
  const auto same =
      std::ranges::find_if(orders_, [&](const Order& order) { return order.study == study; });
  if (same != orders_.end()) {
    same->replies.push_back(reply);
    return;
  }
  if (orders_.size() >= options_.most_waiting) {
    throw ApiError(ErrorCode::kResourceExhausted, "RATE_LIMITED",
                   std::to_string(orders_.size()) +
                       " other reports are to be made before this one; ask again in a moment",
                   {{"retry_after_ms", "2000"}});
  }
  orders_.push_back({.study = study, .request = request, .replies = {reply}});
  changed_.notify_all();
}

void ReportDesk::Send(const std::shared_ptr<const MadeReport>& report, bool newer,
                      HttpReply& reply) {
  if (report->failure) return reply.Send(*report->failure);
  const std::string address = shelf_.NewAddress(report);
  const nlohmann::json json = {{"page", address + "/report.html"},
                               {"markdown", address + "/report.md"},
                               {"trials", address + "/trials.csv"},
                               {"timings", address + "/timings.csv"},
                               {"newer", newer}};
  reply.Send(JsonAnswer(200, json.dump()));
}

void ReportDesk::Loop() {
  while (true) {
    Order order;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return ending_ || !orders_.empty(); });
      if (ending_) return;
      order = std::move(orders_.front());
      orders_.pop_front();
    }
    Serve(order);
  }
}

void ReportDesk::Serve(const Order& order) {
  HttpAnswer refusal;
  try {
    const std::shared_ptr<const MadeReport> report = Make(order);
    for (const auto& reply : order.replies) Send(report, false, *reply);
    return;
  } catch (...) {
    refusal = RefusalOf(std::current_exception());
  }
  for (const auto& reply : order.replies) reply->Send(refusal);
}

std::shared_ptr<const MadeReport> ReportDesk::Make(const Order& order) {
  const Clock& clock = *options_.shelf.clock;
  const MonotonicTime begin = clock.Monotonic();
  auto made = std::make_shared<MadeReport>(MadeReport{.study = order.study});
  try {
    const client::FetchedStudy fetched = client::FetchStudy(
        {.get =
             [&](const v1::GetStudyRequest& request) {
               return Call(&v1::StudyService::Stub::GetStudy, request, order.request);
             },
         .read_results =
             [&](const v1::ReadStudyResultsRequest& request) {
               return Call(&v1::StudyService::Stub::ReadStudyResults, request, order.request);
             }},
        order.study, options_.most_result_bytes);
    // Another who asked before has had it made.
    const std::shared_ptr<const MadeReport> known = shelf_.Find(order.study);
    made->result_bytes = static_cast<int64_t>(fetched.results.size());
    if (known != nullptr && known->result_bytes == made->result_bytes) return known;
    Fill(*made, fetched);
  } catch (const Error& error) {
    // They are too many, and become no fewer. (A call that fails is Refused.)
    if (error.code() != ErrorCode::kResourceExhausted) throw;
    made->result_bytes = static_cast<int64_t>(options_.most_result_bytes);
    made->for_good = true;
    made->failure = RefusalOf(std::current_exception());
  }
  made->made = clock.Monotonic();
  made->took = made->made - begin;
  shelf_.Put(made);
  return made;
}

void ReportDesk::Fill(MadeReport& report, const client::FetchedStudy& fetched) {
  try {
    const study::Plan plan(fetched.File());
    // The rules are those of the study as it was submitted, before anything ran.
    study::StudyReport made = study::MakeStudyReport(
        plan, study::ParseResults(fetched.results, report.study), {},
        study::WrittenLine(options_.shelf.clock->Now(), options_.version), stop_.get_token());
    report.html = study::document::Html(made.document);
    report.markdown = study::document::Markdown(made.document);
    report.trials_csv = std::move(made.trials_csv);
    report.timings_csv = std::move(made.timings_csv);
  } catch (const std::bad_alloc&) {
    throw;  // there may be more of it the next time
  } catch (const std::exception&) {
    if (stop_.stop_requested()) throw Ends();
    report.failure = RefusalOf(std::current_exception());
  }
}

template <typename Request, typename Response>
Response ReportDesk::Call(grpc::Status (v1::StudyService::Stub::*method)(grpc::ClientContext*,
                                                                         const Request&, Response*),
                          const Request& request, const HttpRequest& caller) {
  grpc::ClientContext context;
  Prepare(context, caller);
  {
    std::lock_guard lock(mutex_);
    if (ending_) throw Ends();
    under_way_ = &context;
  }
  Response response;
  const grpc::Status status = ((*stub_).*method)(&context, request, &response);
  {
    std::lock_guard lock(mutex_);
    under_way_ = nullptr;
  }
  if (!status.ok()) throw Refused{status};
  return response;
}

}  // namespace syncbn::coordinator
