// The report of a study in a browser, as `syncbn study fetch` writes it on disk:
//
//   POST /api/v1/report {"name": "studies/3"}   {"page": "/reports/KEY/report.html", "markdown":
//   ...,
//                                                "trials": ..., "timings": ..., "newer": false}
//   GET /reports/KEY/report.html                for a minute, by whoever knows the key
//
// Whoever may read the study may ask (StudyService/GetStudy and ReadStudyResults are called for
// him). A report is of the results so far; it is made anew where there are more. One thread makes
// reports, one after the other, beside all that answers: so many wait for it, others are told to
// come again; and a report that took long is made anew the more seldom ("newer": there are more
// results than it has). What cannot be made is kept likewise: it is tried again when there are more
// results, not whenever an open page asks.
//
// Thread-safe.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "client/fetched_study.h"
#include "coordinator/service/http_message.h"
#include "coordinator/service/http_reply.h"
#include "coordinator/web/gateway_call.h"
#include "coordinator/web/report_shelf.h"
#include "syncbn/v1/study_service.grpc.pb.h"

namespace syncbn::coordinator {

class ReportDesk {
 public:
  static constexpr std::string_view kPath = "/api/v1/report";
  struct Options {
    // To the server of this process.
    std::shared_ptr<grpc::Channel> channel;
    // Of the program, for the report's head.
    std::string version;
    // Studies whose reports are to be made.
    size_t most_waiting = 8;
    // A study that has more has no report here.
    size_t most_result_bytes = size_t{64} << 20;
    // A report stands for so many times as long as it took to make, whatever comes in.
    int rest = 10;
    ReportShelf::Options shelf = {};
  };

  explicit ReportDesk(Options options);
  // Ends what waits and what is being made.
  ~ReportDesk();
  ReportDesk(const ReportDesk&) = delete;
  ReportDesk& operator=(const ReportDesk&) = delete;

  // Answers kPath. Who the caller is follows from the header `authorization`.
  void Answer(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);
  // Answers what is below ReportShelf::kPrefix.
  HttpAnswer AnswerFile(const HttpRequest& request) { return shelf_.Answer(request.path); }

 private:
  // A report to be made, and whoever waits for it; with the rights of the first.
  struct Order {
    std::string study;
    HttpRequest request;
    std::vector<std::shared_ptr<HttpReply>> replies;
  };

  // Whether the caller may read the study, and whether the report that is there has all its
  // results.
  void Look(const HttpRequest& request, const std::string& study,
            const std::shared_ptr<HttpReply>& reply);
  void Wait(const HttpRequest& request, const std::string& study,
            const std::shared_ptr<HttpReply>& reply);
  void Send(const std::shared_ptr<const MadeReport>& report, bool newer, HttpReply& reply);
  void Loop();
  void Serve(const Order& order);
  std::shared_ptr<const MadeReport> Make(const Order& order);
  // Texts and tables, or why there are none.
  void Fill(MadeReport& report, const client::FetchedStudy& fetched);
  template <typename Request, typename Response>
  Response Call(grpc::Status (v1::StudyService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                               Response*),
                const Request& request, const HttpRequest& caller);

  const Options options_;
  const std::unique_ptr<v1::StudyService::Stub> stub_;
  ReportShelf shelf_;
  OpenCalls calls_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;
  std::stop_source stop_;
  std::deque<Order> orders_;
  grpc::ClientContext* under_way_ = nullptr;
  std::thread thread_;  // last: it uses the others
};

}  // namespace syncbn::coordinator
